//! Templates by content, and the classes of tasks that any worker either can or cannot run.

use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use crate::{
    ids::TemplateNumber,
    template::{Kind, Template},
};

/// What placing looks at. Templates with equal needs share a class, so that scheduling costs the number of classes, not of
/// templates.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    /// What the worker must be able to run.
    pub kind: Kind,
    /// How many slots the worker must have.
    pub slots: u32,
}

/// A class's position in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClassNumber(pub u32);

/// All templates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Templates {
    all: Vec<(Arc<Template>, ClassNumber)>,
    by_body: FxHashMap<Bytes, TemplateNumber>,
    classes: Vec<Class>,
    by_class: FxHashMap<Class, ClassNumber>,
}

impl Templates {
    /// The template with this number.
    pub fn get(&self, number: TemplateNumber) -> Option<&Arc<Template>> {
        self.all.get(number.0 as usize).map(|(template, _)| template)
    }

    /// All of them, by number.
    pub fn iter(&self) -> impl Iterator<Item = (TemplateNumber, &Arc<Template>)> {
        self.all.iter().enumerate().map(|(at, (template, _))| (TemplateNumber(at as u32), template))
    }

    /// The number of the template with this content.
    pub fn find(&self, template: &Template) -> Option<TemplateNumber> {
        self.by_body.get(&template.body).copied()
    }

    /// The number that the next new one gets.
    pub fn next(&self) -> TemplateNumber {
        TemplateNumber(self.all.len() as u32)
    }

    /// The class of a template's tasks.
    pub fn class(&self, number: TemplateNumber) -> ClassNumber {
        self.all.get(number.0 as usize).map_or(ClassNumber(u32::MAX), |(_, class)| *class)
    }

    /// What a class needs.
    pub fn needs(&self, class: ClassNumber) -> Option<&Class> {
        self.classes.get(class.0 as usize)
    }

    pub(crate) fn insert(&mut self, template: Arc<Template>) {
        let needs = Class { kind: template.kind.clone(), slots: template.slots };
        let class = *self.by_class.entry(needs).or_insert_with_key(|needs| {
            self.classes.push(needs.clone());
            ClassNumber(self.classes.len() as u32 - 1)
        });
        self.by_body.insert(template.body.clone(), self.next());
        self.all.push((template, class));
    }
}
