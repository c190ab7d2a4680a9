//! The templates that a client defined in its session.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use task_messenger_core::template::Template;
use task_messenger_protocol::{
    messages::DefineTemplate,
    template::{MOST_NUMBERS, to_core},
};

/// How many bytes of templates a session may have defined at a time.
const MOST_BYTES: usize = 16 << 20;

/// A session's templates by the numbers that its client gave them. One that is no good is kept as the reason why, so that
/// the submit that uses it can be answered.
#[derive(Debug, Default)]
pub(crate) struct SessionTemplates {
    by_number: FxHashMap<u32, Result<Arc<Template>, String>>,
    bytes: usize,
}

impl SessionTemplates {
    /// Takes a definition; a number that was defined before means the new template from now on.
    pub(crate) fn define(&mut self, define: &DefineTemplate, limit: u64) -> Result<(), String> {
        let template = to_core(&define.template, limit).map(Arc::new).map_err(|error| format!("the template: {error}"));
        self.bytes += template.as_ref().map_or(0, |template| template.body.len());
        if let Some(Ok(earlier)) = self.by_number.insert(define.number, template) {
            self.bytes -= earlier.body.len();
        }
        if self.by_number.len() > MOST_NUMBERS || self.bytes > MOST_BYTES {
            return Err(format!("more than {MOST_NUMBERS} templates, or {MOST_BYTES} bytes of them, at a time"));
        }
        Ok(())
    }

    /// The template with this number.
    pub(crate) fn get(&self, number: u32) -> Result<Arc<Template>, String> {
        match self.by_number.get(&number) {
            Some(template) => template.clone(),
            None => Err(format!("template {number} was not defined in this session")),
        }
    }
}

#[cfg(test)]
mod tests {
    use task_messenger_protocol::messages::Template;

    use super::*;

    fn define(number: u32, name: &str) -> DefineTemplate {
        DefineTemplate { number, template: prost::Message::encode_to_vec(&Template::of_skill(name)).into() }
    }

    #[test]
    fn a_number_can_be_defined_anew_and_a_bad_template_is_explained_when_used() {
        let mut templates = SessionTemplates::default();
        templates.define(&define(1, "one"), 1_000).unwrap();
        templates.define(&define(1, "two"), 1_000).unwrap();
        let body = templates.get(1).unwrap().body.clone();
        assert!(body.windows(3).any(|window| window == b"two"));
        assert_eq!(templates.bytes, body.len());
        templates.define(&DefineTemplate { number: 1, template: bytes::Bytes::from_static(b"\xff") }, 1_000).unwrap();
        assert!(templates.get(1).unwrap_err().contains("template"));
        assert_eq!(templates.bytes, 0);
        assert!(templates.get(2).unwrap_err().contains("not defined"));
    }

    #[test]
    fn what_one_session_defines_is_bounded() {
        let mut templates = SessionTemplates::default();
        let refused = (0..2_000).find_map(|number| templates.define(&define(number, "one"), 1_000).err());
        assert!(refused.unwrap().contains("1024"));
    }
}
