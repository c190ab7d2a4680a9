//! A batch for each built-in skill, with the demo's own computation of the answers.

use serde_json::{Value, json};

/// Tasks to a batch.
const BATCH: u64 = 100;

/// Inputs for one skill, and how an answer is told right from wrong.
pub(super) struct Batch {
    pub(super) name: &'static str,
    pub(super) skill: &'static str,
    pub(super) inputs: Vec<Value>,
    check: fn(&Value, &Value) -> bool,
}

impl Batch {
    /// Whether the skill's output answers this input.
    pub(super) fn is_right(&self, index: u32, output: &[u8]) -> bool {
        let input = self.inputs.get(index as usize);
        let output = serde_json::from_slice(output).ok();
        input.zip(output.as_ref()).is_some_and(|(input, output)| (self.check)(input, output))
    }
}

/// One batch of every built-in skill.
pub(super) fn batches() -> Vec<Batch> {
    let mut numbers = Numbers(1);
    let mut batch = |skill, input: fn(&mut Numbers, u64) -> Value, check| Batch {
        name: skill,
        skill,
        inputs: (0..BATCH).map(|index| input(&mut numbers, index)).collect(),
        check,
    };
    vec![
        batch("string-reversal", |_, index| json!({ "text": format!("Größe {index} ↔ größer") }), is_reversed),
        batch("math-operation", math_input, is_math),
        batch("vector-math", |numbers, _| vectors(numbers, &["a", "b"], 16, json!({ "operation": "dot" })), is_dot),
        batch("fused-multiply-add", |numbers, _| vectors(numbers, &["a", "b", "c"], 16, json!({})), is_fused),
        batch("dgemm", dgemm_input, is_product),
    ]
}

/// A batch for a job that is cancelled and then runs after all.
pub(super) fn reconsidered() -> Batch {
    let inputs = (0..BATCH).map(|index| json!({ "text": format!("{index} after all") })).collect();
    Batch { name: "reconsidered", skill: "string-reversal", inputs, check: is_reversed }
}

/// Small whole numbers, so that every way of computing gives the same result: a linear congruential generator (Knuth,
/// The Art of Computer Programming, volume 2, section 3.3.4, the multiplier of MMIX).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 % 1_000.0 - 500.0
    }

    fn vector(&mut self, length: usize) -> Vec<f64> {
        (0..length).map(|_| self.next()).collect()
    }
}

fn vectors(numbers: &mut Numbers, names: &[&str], length: usize, mut input: Value) -> Value {
    for name in names {
        input[*name] = json!(numbers.vector(length));
    }
    input
}

fn math_input(numbers: &mut Numbers, index: u64) -> Value {
    let operation = ["add", "subtract", "multiply"][index as usize % 3];
    json!({ "operation": operation, "a": numbers.next(), "b": numbers.next() })
}

fn dgemm_input(numbers: &mut Numbers, index: u64) -> Value {
    let (m, n, k) = (1 + index as usize % 7, 1 + index as usize % 5, 1 + index as usize % 11);
    json!({
        "m": m, "n": n, "k": k, "alpha": 2.0, "beta": -1.0,
        "a": numbers.vector(m * k), "b": numbers.vector(k * n), "c": numbers.vector(m * n),
    })
}

fn list(value: &Value, name: &str) -> Vec<f64> {
    value[name].as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

fn is_reversed(input: &Value, output: &Value) -> bool {
    let backwards = |value: &Value| value["text"].as_str().map(|text| text.chars().rev().collect::<String>());
    input["text"].as_str().map(str::to_owned) == backwards(output)
}

fn is_math(input: &Value, output: &Value) -> bool {
    let (a, b) = (input["a"].as_f64().unwrap_or(f64::NAN), input["b"].as_f64().unwrap_or(f64::NAN));
    let expected = match input["operation"].as_str() {
        Some("add") => a + b,
        Some("subtract") => a - b,
        _ => a * b,
    };
    output["result"].as_f64() == Some(expected)
}

fn is_dot(input: &Value, output: &Value) -> bool {
    let expected: f64 = list(input, "a").iter().zip(list(input, "b")).map(|(a, b)| a * b).sum();
    output["result"].as_f64() == Some(expected)
}

fn is_fused(input: &Value, output: &Value) -> bool {
    let (a, b, c) = (list(input, "a"), list(input, "b"), list(input, "c"));
    let expected: Vec<f64> = a.iter().zip(b).zip(c).map(|((a, b), c)| a * b + c).collect();
    list(output, "result") == expected && !expected.is_empty()
}

fn is_product(input: &Value, output: &Value) -> bool {
    let size = |name: &str| input[name].as_u64().unwrap_or_default() as usize;
    let (rows, columns, depth) = (size("m"), size("n"), size("k"));
    let (left, right, added) = (list(input, "a"), list(input, "b"), list(input, "c"));
    let mut expected = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        for column in 0..columns {
            let sum: f64 = (0..depth).map(|at| left[row * depth + at] * right[at * columns + column]).sum();
            expected.push(2.0 * sum - added[row * columns + column]);
        }
    }
    list(output, "c") == expected && !expected.is_empty()
}
