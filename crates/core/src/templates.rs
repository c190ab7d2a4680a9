//! Templates by content, for as long as there are tasks of them, and the classes of tasks that any worker either can or
//! cannot run.

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

/// What a template costs in memory beside its bytes, about.
const OVERHEAD: u64 = 256;

/// All templates that tasks have.
#[derive(Debug, Default)]
pub struct Templates {
    all: FxHashMap<TemplateNumber, Entry>,
    by_body: FxHashMap<Bytes, TemplateNumber>,
    next: TemplateNumber,
    bytes: u64,
    /// By number. Those of no template are in `unused`, and are given to others.
    classes: Vec<Class>,
    by_class: FxHashMap<Class, (ClassNumber, u32)>,
    unused: Vec<ClassNumber>,
    reused: u64,
}

#[derive(Debug)]
struct Entry {
    template: Arc<Template>,
    class: ClassNumber,
    tasks: u64,
}

impl Templates {
    /// The template with this number.
    pub fn get(&self, number: TemplateNumber) -> Option<&Arc<Template>> {
        self.all.get(&number).map(|entry| &entry.template)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (TemplateNumber, &Arc<Template>)> {
        self.all.iter().map(|(number, entry)| (*number, &entry.template))
    }

    /// The number of the template with this content.
    pub fn find(&self, template: &Template) -> Option<TemplateNumber> {
        self.by_body.get(&template.body).copied()
    }

    /// The number that the next new one gets: none is ever used again.
    pub fn next(&self) -> TemplateNumber {
        self.next
    }

    /// About how much memory they take, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What [`Templates::bytes`] grows by with this one.
    pub(crate) fn cost(template: &Template) -> u64 {
        OVERHEAD + template.body.len() as u64
    }

    /// The class of a template's tasks.
    pub fn class(&self, number: TemplateNumber) -> ClassNumber {
        self.all.get(&number).map_or(ClassNumber(u32::MAX), |entry| entry.class)
    }

    /// What a class needs.
    pub fn needs(&self, class: ClassNumber) -> Option<&Class> {
        self.classes.get(class.0 as usize)
    }

    /// How many tasks there are of each, and how much memory the templates take by their content.
    pub(crate) fn uses(&self) -> (FxHashMap<TemplateNumber, u64>, u64) {
        let uses = self.all.iter().map(|(number, entry)| (*number, entry.tasks)).collect();
        (uses, self.all.values().map(|entry| Self::cost(&entry.template)).sum())
    }

    /// How often a class's number was given to another one: whoever keeps what he knows of classes asks anew then.
    pub(crate) fn reused(&self) -> u64 {
        self.reused
    }

    /// Numbers below this one have been used.
    pub(crate) fn skip_to(&mut self, next: TemplateNumber) {
        self.next = self.next.max(next);
    }

    pub(crate) fn insert(&mut self, number: TemplateNumber, template: Arc<Template>) {
        let class = self.enter_class(Class { kind: template.kind.clone(), slots: template.slots });
        self.bytes += Self::cost(&template);
        self.by_body.insert(template.body.clone(), number);
        self.all.insert(number, Entry { template, class, tasks: 0 });
        self.skip_to(TemplateNumber(number.0.saturating_add(1)));
    }

    /// Counts more tasks of a template.
    pub(crate) fn hold(&mut self, number: TemplateNumber, tasks: u64) {
        if let Some(entry) = self.all.get_mut(&number) {
            entry.tasks += tasks;
        }
    }

    /// Counts tasks of a template out; it goes with the last one.
    pub(crate) fn release(&mut self, number: TemplateNumber, tasks: u64) {
        let Some(entry) = self.all.get_mut(&number) else {
            debug_assert!(false, "template {} has tasks", number.0);
            return;
        };
        entry.tasks -= tasks;
        if entry.tasks == 0 {
            self.remove(number);
        }
    }

    /// Forgets those of no task: their tasks' record was lost with the manager.
    pub(crate) fn forget_unused(&mut self) {
        let unused: Vec<_> = self.all.iter().filter(|(_, entry)| entry.tasks == 0).map(|(number, _)| *number).collect();
        for number in unused {
            self.remove(number);
        }
    }

    fn remove(&mut self, number: TemplateNumber) {
        let Some(Entry { template, class, .. }) = self.all.remove(&number) else { return };
        self.bytes -= Self::cost(&template);
        self.by_body.remove(&template.body);
        let needs = &self.classes[class.0 as usize];
        if let Some((_, templates)) = self.by_class.get_mut(needs) {
            *templates -= 1;
            if *templates == 0 {
                self.by_class.remove(needs);
                self.unused.push(class);
            }
        }
    }

    /// The class of one more template.
    fn enter_class(&mut self, needs: Class) -> ClassNumber {
        if let Some((class, templates)) = self.by_class.get_mut(&needs) {
            *templates += 1;
            return *class;
        }
        let class = if let Some(class) = self.unused.pop() {
            self.reused += 1;
            self.classes[class.0 as usize] = needs.clone();
            class
        } else {
            self.classes.push(needs.clone());
            ClassNumber(self.classes.len() as u32 - 1)
        };
        self.by_class.insert(needs, (class, 1));
        class
    }
}
