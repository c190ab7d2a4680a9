//! `math-operation`.

use serde::{Deserialize, Serialize};

use super::{Skill, SkillError, answer, finite, parse};
use crate::runners::skill::SkillContext;

/// `{"operation": "add", "a": 1, "b": 2}` → `{"result": 3.0}`.
///
/// Operations: `add`, `subtract`, `multiply`, `divide`, `power`, and `modulo`, whose result has the sign of `a`. Dividing by
/// zero is an error.
#[derive(Clone, Copy, Debug)]
pub struct MathOperation;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
    Modulo,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    operation: Operation,
    a: f64,
    b: f64,
}

#[derive(Serialize)]
struct Output {
    result: f64,
}

impl Skill for MathOperation {
    fn name(&self) -> &'static str {
        "math-operation"
    }

    fn run(&self, input: &[u8], _context: &SkillContext) -> Result<Vec<u8>, SkillError> {
        let Input { operation, a, b } = parse(input)?;
        let result = match operation {
            Operation::Add => a + b,
            Operation::Subtract => a - b,
            Operation::Multiply => a * b,
            Operation::Divide | Operation::Modulo if b == 0.0 => return Err(SkillError::new("division by zero")),
            Operation::Divide => a / b,
            Operation::Modulo => a % b,
            Operation::Power => a.powf(b),
        };
        answer(&Output { result: finite(result)? })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::call, *};

    #[test]
    fn every_operation_gives_its_result() {
        for (operation, expected) in
            [("add", 9.5), ("subtract", 5.5), ("multiply", 15.0), ("divide", 3.75), ("power", 56.25), ("modulo", 1.5)]
        {
            let output = call(&MathOperation, &format!(r#"{{"operation":"{operation}","a":7.5,"b":2}}"#)).unwrap();
            assert_eq!(output, format!(r#"{{"result":{expected:?}}}"#), "{operation}");
        }
    }

    #[test]
    fn what_has_no_finite_result_is_an_error() {
        let fails = |operation: &str, a: &str, b: &str| {
            call(&MathOperation, &format!(r#"{{"operation":"{operation}","a":{a},"b":{b}}}"#)).unwrap_err()
        };
        assert_eq!(fails("divide", "1", "0"), "division by zero");
        assert_eq!(fails("modulo", "1", "0"), "division by zero");
        assert!(fails("multiply", "1e300", "1e300").contains("not a finite number"));
        assert!(fails("power", "-1", "0.5").contains("not a finite number"));
        assert!(fails("root", "1", "2").contains("unknown variant `root`"));
    }
}
