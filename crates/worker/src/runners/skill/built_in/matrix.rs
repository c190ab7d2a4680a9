//! `dgemm`.

#![expect(clippy::many_single_char_names, reason = "the names that matrix products have everywhere")]

use serde::{Deserialize, Serialize};

use super::{Skill, SkillError, all_finite, answer, parse};
use crate::runners::skill::SkillContext;

/// Most elements of each matrix.
const MOST_ELEMENTS: usize = 1 << 22;
/// Longest side.
const LONGEST_SIDE: usize = 1 << 16;
/// Side of a block: three blocks of doubles fit into a first-level cache's neighbourhood.
const BLOCK: usize = 64;

/// The product of matrices: `alpha * a * b + beta * c`, row by row.
///
/// `{"m": 2, "n": 2, "k": 1, "alpha": 1, "a": [1, 2], "b": [3, 4]}` → `{"c": [3.0, 4.0, 6.0, 8.0]}`.
/// `a` has m × k elements, `b` k × n and `c` m × n. `alpha` is 1 and `beta` 0 unless given; `c` is needed unless `beta`
/// is 0. Each matrix has at most 4,194,304 elements, each side at most 65,536.
#[derive(Clone, Copy, Debug)]
pub struct Dgemm;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    m: usize,
    n: usize,
    k: usize,
    #[serde(default = "one")]
    alpha: f64,
    #[serde(default)]
    beta: f64,
    a: Vec<f64>,
    b: Vec<f64>,
    #[serde(default)]
    c: Option<Vec<f64>>,
}

fn one() -> f64 {
    1.0
}

#[derive(Serialize)]
struct Output {
    c: Vec<f64>,
}

impl Skill for Dgemm {
    fn name(&self) -> &'static str {
        "dgemm"
    }

    fn run(&self, input: &[u8], context: &SkillContext) -> Result<Vec<u8>, SkillError> {
        let Input { m, n, k, alpha, beta, a, b, c } = parse(input)?;
        for (name, side) in [("m", m), ("n", n), ("k", k)] {
            if side > LONGEST_SIDE {
                return Err(SkillError::new(format!("\"{name}\" is {side}; at most {LONGEST_SIDE} is allowed")));
            }
        }
        check("a", &a, m, k)?;
        check("b", &b, k, n)?;
        let mut c = match c {
            Some(c) => {
                check("c", &c, m, n)?;
                c
            }
            None if beta == 0.0 => {
                limit("c", m, n)?;
                vec![0.0; m * n]
            }
            None => return Err(SkillError::new("\"c\" is needed unless \"beta\" is 0")),
        };
        for sum in &mut c {
            *sum = if beta == 0.0 { 0.0 } else { *sum * beta };
        }
        multiply_add([m, n, k], alpha, &a, &b, &mut c, context)?;
        all_finite(&c)?;
        answer(&Output { c })
    }
}

/// Adds `alpha * a * b` to `c`, block by block.
fn multiply_add(
    [m, n, k]: [usize; 3],
    alpha: f64,
    a: &[f64],
    b: &[f64],
    c: &mut [f64],
    context: &SkillContext,
) -> Result<(), SkillError> {
    for rows in (0..m).step_by(BLOCK) {
        for inner in (0..k).step_by(BLOCK) {
            if context.expired() {
                return Err(SkillError::new("the time was over before the product was complete"));
            }
            for columns in (0..n).step_by(BLOCK) {
                let width = columns..(columns + BLOCK).min(n);
                for row in rows..(rows + BLOCK).min(m) {
                    let sums = &mut c[row * n..][width.clone()];
                    for middle in inner..(inner + BLOCK).min(k) {
                        let factor = alpha * a[row * k + middle];
                        for (sum, b) in sums.iter_mut().zip(&b[middle * n..][width.clone()]) {
                            *sum += factor * b;
                        }
                    }
                }
            }
        }
    }
    Ok(())
}

fn check(name: &str, matrix: &[f64], rows: usize, columns: usize) -> Result<(), SkillError> {
    limit(name, rows, columns)?;
    if matrix.len() == rows * columns {
        return Ok(());
    }
    let found = matrix.len();
    Err(SkillError::new(format!("\"{name}\" has {found} elements; {rows} rows of {columns} were announced")))
}

fn limit(name: &str, rows: usize, columns: usize) -> Result<(), SkillError> {
    if rows.saturating_mul(columns) <= MOST_ELEMENTS {
        return Ok(());
    }
    Err(SkillError::new(format!(
        "\"{name}\" would have {rows} x {columns} elements; at most {MOST_ELEMENTS} are allowed"
    )))
}

#[cfg(test)]
mod tests {
    use super::{super::call, *};

    #[test]
    fn a_product_in_blocks_is_the_product() {
        let [m, n, k] = [70, 130, 65];
        let number = |seed: usize| ((seed * 7919) % 97) as f64 - 48.0;
        let a: Vec<f64> = (0..m * k).map(number).collect();
        let b: Vec<f64> = (0..k * n).map(|at| number(at + 5)).collect();
        let c: Vec<f64> = (0..m * n).map(|at| number(at + 9)).collect();
        let input = serde_json::json!({"m": m, "n": n, "k": k, "alpha": 2, "beta": 3, "a": a, "b": b, "c": c});
        let output: serde_json::Value = serde_json::from_str(&call(&Dgemm, &input.to_string()).unwrap()).unwrap();
        for row in 0..m {
            for column in 0..n {
                let sum: f64 = (0..k).map(|middle| a[row * k + middle] * b[middle * n + column]).sum();
                let expected = 2.0 * sum + 3.0 * c[row * n + column];
                assert!((output["c"][row * n + column].as_f64().unwrap() - expected).abs() < 1e-9, "{row} {column}");
            }
        }
    }

    #[test]
    fn sizes_are_checked() {
        let small = call(&Dgemm, r#"{"m":2,"n":2,"k":1,"a":[1,2],"b":[3,4]}"#).unwrap();
        assert_eq!(small, r#"{"c":[3.0,4.0,6.0,8.0]}"#);
        let wrong = call(&Dgemm, r#"{"m":2,"n":2,"k":1,"a":[1],"b":[3,4]}"#).unwrap_err();
        assert_eq!(wrong, "\"a\" has 1 elements; 2 rows of 1 were announced");
        let large = call(&Dgemm, r#"{"m":65536,"n":65536,"k":0,"a":[],"b":[]}"#).unwrap_err();
        assert!(large.contains("at most 4194304"), "{large}");
        assert!(call(&Dgemm, r#"{"m":1,"n":1,"k":0,"beta":1,"a":[],"b":[]}"#).unwrap_err().contains("\"c\" is needed"));
        assert_eq!(call(&Dgemm, r#"{"m":1,"n":1,"k":0,"a":[],"b":[]}"#).unwrap(), r#"{"c":[0.0]}"#);
    }
}
