//! `vector-math` and `fused-multiply-add`.

use serde::{Deserialize, Serialize};

use super::{Skill, SkillError, all_finite, answer, finite, parse};
use crate::runners::skill::SkillContext;

/// Longest vector.
const LONGEST: usize = 1 << 20;

/// Vectors of at most 1,048,576 elements.
///
/// - `{"operation": "add", "a": [1, 2], "b": [3, 4]}` → `{"result": [4.0, 6.0]}`; so are `subtract` and `multiply`
///   (element by element).
/// - `{"operation": "dot", "a": [..], "b": [..]}` → `{"result": 11.0}`.
/// - `{"operation": "norm", "a": [3, 4]}` → `{"result": 5.0}`, the Euclidean length.
/// - `{"operation": "scale", "a": [1, 2], "factor": 3}` → `{"result": [3.0, 6.0]}`.
#[derive(Clone, Copy, Debug)]
pub struct VectorMath;

#[derive(Deserialize)]
#[serde(tag = "operation", rename_all = "kebab-case", deny_unknown_fields)]
enum Input {
    Add { a: Vec<f64>, b: Vec<f64> },
    Subtract { a: Vec<f64>, b: Vec<f64> },
    Multiply { a: Vec<f64>, b: Vec<f64> },
    Dot { a: Vec<f64>, b: Vec<f64> },
    Norm { a: Vec<f64> },
    Scale { a: Vec<f64>, factor: f64 },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Vector(Vec<f64>),
    Number(f64),
}

#[derive(Serialize)]
struct Output {
    result: Answer,
}

impl Skill for VectorMath {
    fn name(&self) -> &'static str {
        "vector-math"
    }

    fn run(&self, input: &[u8], _context: &SkillContext) -> Result<Vec<u8>, SkillError> {
        let result = match parse(input)? {
            Input::Add { a, b } => Answer::Vector(elementwise(&a, &b, |a, b| a + b)?),
            Input::Subtract { a, b } => Answer::Vector(elementwise(&a, &b, |a, b| a - b)?),
            Input::Multiply { a, b } => Answer::Vector(elementwise(&a, &b, |a, b| a * b)?),
            Input::Dot { a, b } => Answer::Number(elementwise(&a, &b, |a, b| a * b)?.iter().sum()),
            Input::Norm { a } => {
                same_length(&[("a", &a)])?;
                Answer::Number(norm(&a))
            }
            Input::Scale { a, factor } => {
                same_length(&[("a", &a)])?;
                Answer::Vector(a.iter().map(|a| a * factor).collect())
            }
        };
        match &result {
            Answer::Vector(numbers) => all_finite(numbers)?,
            Answer::Number(number) => _ = finite(*number)?,
        }
        answer(&Output { result })
    }
}

/// `{"a": [..], "b": [..], "c": [..]}` → `{"result": [..]}` with `a * b + c` element by element, each rounded once.
///
/// At most 1,048,576 elements.
#[derive(Clone, Copy, Debug)]
pub struct FusedMultiplyAdd;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Factors {
    a: Vec<f64>,
    b: Vec<f64>,
    c: Vec<f64>,
}

impl Skill for FusedMultiplyAdd {
    fn name(&self) -> &'static str {
        "fused-multiply-add"
    }

    fn run(&self, input: &[u8], _context: &SkillContext) -> Result<Vec<u8>, SkillError> {
        let Factors { a, b, c } = parse(input)?;
        same_length(&[("a", &a), ("b", &b), ("c", &c)])?;
        let result: Vec<f64> = a.iter().zip(&b).zip(&c).map(|((a, b), c)| a.mul_add(*b, *c)).collect();
        all_finite(&result)?;
        answer(&Output { result: Answer::Vector(result) })
    }
}

fn elementwise(a: &[f64], b: &[f64], operation: fn(f64, f64) -> f64) -> Result<Vec<f64>, SkillError> {
    same_length(&[("a", a), ("b", b)])?;
    Ok(a.iter().zip(b).map(|(a, b)| operation(*a, *b)).collect())
}

fn same_length(vectors: &[(&str, &[f64])]) -> Result<(), SkillError> {
    let (first, length) = (vectors[0].0, vectors[0].1.len());
    if length > LONGEST {
        return Err(SkillError::new(format!("\"{first}\" has {length} elements; at most {LONGEST} are allowed")));
    }
    match vectors.iter().find(|(_, vector)| vector.len() != length) {
        None => Ok(()),
        Some((name, vector)) => Err(SkillError::new(format!(
            "the vectors differ in length: \"{first}\" has {length} elements, \"{name}\" has {}",
            vector.len()
        ))),
    }
}

/// Divides by a power of two near the largest element first, so that no square overflows or vanishes, and nothing is rounded.
fn norm(a: &[f64]) -> f64 {
    let largest = a.iter().fold(0.0_f64, |largest, a| largest.max(a.abs()));
    if largest == 0.0 {
        return 0.0;
    }
    let scale = 2.0_f64.powf(largest.log2().floor());
    scale * a.iter().map(|a| (a / scale).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::{super::call, *};

    #[test]
    fn every_operation_gives_its_result() {
        for (input, expected) in [
            (r#"{"operation":"add","a":[1,2],"b":[3,4]}"#, "[4.0,6.0]"),
            (r#"{"operation":"subtract","a":[1,2],"b":[3,5]}"#, "[-2.0,-3.0]"),
            (r#"{"operation":"multiply","a":[1,2],"b":[3,4]}"#, "[3.0,8.0]"),
            (r#"{"operation":"dot","a":[1,2],"b":[3,4]}"#, "11.0"),
            (r#"{"operation":"norm","a":[3,4]}"#, "5.0"),
            (r#"{"operation":"norm","a":[]}"#, "0.0"),
            (r#"{"operation":"scale","a":[1,2],"factor":3}"#, "[3.0,6.0]"),
        ] {
            assert_eq!(call(&VectorMath, input).unwrap(), format!(r#"{{"result":{expected}}}"#), "{input}");
        }
    }

    #[test]
    fn a_length_neither_overflows_nor_vanishes_on_the_way() {
        for scale in [1e200, 1e-200] {
            let length = norm(&[3.0 * scale, 4.0 * scale]) / scale;
            assert!((length - 5.0).abs() < 1e-12, "{length}");
        }
    }

    #[test]
    fn what_does_not_fit_together_is_an_error() {
        let differing = call(&VectorMath, r#"{"operation":"dot","a":[1,2],"b":[3]}"#).unwrap_err();
        assert_eq!(differing, "the vectors differ in length: \"a\" has 2 elements, \"b\" has 1");
        assert!(
            call(&VectorMath, r#"{"operation":"norm","a":[1],"b":[2]}"#).unwrap_err().contains("unknown field `b`")
        );
        assert!(
            call(&VectorMath, r#"{"operation":"dot","a":[1e300],"b":[1e300]}"#).unwrap_err().contains("not a finite")
        );
        assert!(call(&FusedMultiplyAdd, r#"{"a":[1],"b":[1],"c":[]}"#).unwrap_err().contains("\"c\" has 0"));
    }

    #[test]
    fn a_fused_product_is_rounded_once() {
        let a = 1.0 + f64::EPSILON;
        let b = 1.0 - f64::EPSILON;
        assert!((a * b - 1.0).abs() < f64::MIN_POSITIVE, "rounding twice loses the small term");
        let output = call(&FusedMultiplyAdd, &format!(r#"{{"a":[{a:?}],"b":[{b:?}],"c":[-1]}}"#)).unwrap();
        let output: serde_json::Value = serde_json::from_str(&output).unwrap();
        assert_eq!(output["result"][0].as_f64().unwrap().to_bits(), (-f64::EPSILON * f64::EPSILON).to_bits());
    }
}
