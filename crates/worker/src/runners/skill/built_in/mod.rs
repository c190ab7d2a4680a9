//! The built-in skills: JSON in, JSON out.
//!
//! Each input is one JSON object; an unknown field, a missing one or a wrong type is an error that says where. Numbers are
//! 64-bit floating point; a result that is not finite is an error, never `null`.

mod math;
mod matrix;
mod text;
mod vector;

use std::sync::Arc;

use serde::{Serialize, de::DeserializeOwned};

pub use math::MathOperation;
pub use matrix::Dgemm;
pub use text::StringReversal;
pub use vector::{FusedMultiplyAdd, VectorMath};

use super::{Skill, SkillError};

/// All of them.
pub fn all() -> [Arc<dyn Skill>; 5] {
    [
        Arc::new(StringReversal),
        Arc::new(MathOperation),
        Arc::new(VectorMath),
        Arc::new(FusedMultiplyAdd),
        Arc::new(Dgemm),
    ]
}

fn parse<T: DeserializeOwned>(input: &[u8]) -> Result<T, SkillError> {
    serde_json::from_slice(input)
        .map_err(|error| SkillError::new(format!("the input is not what the skill takes: {error}")))
}

fn answer(output: &impl Serialize) -> Result<Vec<u8>, SkillError> {
    serde_json::to_vec(output).map_err(|error| SkillError::new(format!("the result can't be written as JSON: {error}")))
}

/// The number itself, unless JSON has no form for it.
fn finite(number: f64) -> Result<f64, SkillError> {
    if number.is_finite() {
        Ok(number)
    } else {
        Err(SkillError::new(format!("the result is not a finite number: {number}")))
    }
}

fn all_finite(numbers: &[f64]) -> Result<(), SkillError> {
    match numbers.iter().position(|number| !number.is_finite()) {
        None => Ok(()),
        Some(at) => Err(SkillError::new(format!("element {at} of the result is not a finite number: {}", numbers[at]))),
    }
}

#[cfg(test)]
pub(super) fn call(skill: &dyn Skill, input: &str) -> Result<String, String> {
    let context = super::SkillContext::new(super::TaskName { job: 1, index: 0 }, 1, None);
    match skill.run(input.as_bytes(), &context) {
        Ok(output) => Ok(String::from_utf8(output).unwrap()),
        Err(error) => Err(error.to_string()),
    }
}
