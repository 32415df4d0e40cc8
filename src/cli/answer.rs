//! Reading the gateway's answers: JSON whose fields may grow.
//!
//! Rule: an absent field is an empty text, never a failure, so that a newer gateway still answers an older program.

use serde_json::Value;

/// A field as text; empty where it is absent.
pub(super) fn text(object: &Value, name: &str) -> String {
    match object.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A field that is a list; empty where it is absent.
pub(super) fn list<'a>(object: &'a Value, name: &str) -> &'a [Value] {
    object.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The items of a list.
pub(super) fn items(answer: &Value) -> &[Value] {
    list(answer, "items")
}

/// A time to the second, as a person reads it.
pub(super) fn moment(object: &Value, name: &str) -> String {
    let stamp = text(object, name);
    match (stamp.get(..19), stamp.ends_with('Z')) {
        (Some(seconds), true) => format!("{}Z", seconds.replace('T', " ")),
        _ => stamp,
    }
}
