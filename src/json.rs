//! Strict one-line JSON, a subset of RFC 8785: what is hashed, chained and signed.
//!
//! Rule: a value has one form only, and a reader takes no other. Keys are `[a-z0-9_]` and sorted, numbers are integers
//! within 2^53 - 1 of zero, strings are in NFC; there is no null, no float, no duplicate key, no space. Python's
//! `json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)` writes the same bytes.

mod recognise;
mod shapes;

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use unicode_normalization::{UnicodeNormalization as _, is_nfc};

pub(crate) use shapes::Shapes;

/// The fields of one object, sorted.
pub type Object = BTreeMap<String, Value>;

/// Containers inside containers, the outermost counted.
const DEPTH_MAX: usize = 8;

/// The largest integer that every reader of JSON holds exactly (RFC 7493).
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Why a value has no strict form, or why bytes are not in it. Holds nothing of a value's text.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Two fields of one object have one name.
    #[error("two fields of one object have the same key")]
    DuplicateKey,
    /// Containers are nested too deeply.
    #[error("containers are nested more than {DEPTH_MAX} deep")]
    Depth,
    /// A number with a fraction or an exponent, or an integer that not every reader holds exactly.
    #[error("a number is not an integer between -(2^53 - 1) and 2^53 - 1")]
    Number,
    /// A null; a field without a value is left out.
    #[error("a value is null; leave the field out")]
    Null,
    /// A key outside the allowed set.
    #[error("a key is not made of a-z, 0-9 and _, or an outermost key starts with a digit")]
    Key,
    /// A string that is not in Unicode normalisation form C.
    #[error("a string is not in Unicode normalisation form C")]
    NotNfc,
    /// More bytes than this kind of line may have.
    #[error("the line is {found} bytes long; {allowed} are allowed")]
    TooLong {
        /// The length found, in bytes.
        found: usize,
        /// The most that is allowed, in bytes.
        allowed: usize,
    },
    /// Not JSON, or JSON in another form: keys not sorted, a space, a needless escape.
    #[error("not strict one-line JSON at byte {at}")]
    NotStrict {
        /// Where reading failed, counted from 1.
        at: usize,
    },
    /// Strict JSON, but not the fields that are wanted.
    #[error("not the expected fields at byte {at}{missing}")]
    Fields {
        /// Where reading failed, counted from 1.
        at: usize,
        /// Which field of ours is missing, when that is the reason.
        missing: String,
    },
    /// A type of ours that JSON cannot hold.
    #[error("a value has no form in JSON")]
    Unrepresentable,
}

/// Writes `value` as one strict line, without a final newline.
pub fn to_line<T: Serialize>(value: &T) -> Result<String, JsonError> {
    let loose = serde_json::to_string(value).map_err(|_| JsonError::Unrepresentable)?;
    let tree: Value = serde_json::from_str(&loose).map_err(|_| JsonError::Unrepresentable)?;
    let line = strict(&tree)?;
    // Sorting moves bytes and never loses one: a shorter line means that a flattened field hid another.
    if line.len() == loose.len() { Ok(line) } else { Err(JsonError::DuplicateKey) }
}

/// Writes an object as one strict line, as [`to_line`] does.
pub fn object_to_line(fields: &Object) -> Result<String, JsonError> {
    fields_to_line(fields)
}

/// The same for the fields of an object, in any order and each once.
pub fn fields_to_line<'a>(fields: impl IntoIterator<Item = (&'a String, &'a Value)>) -> Result<String, JsonError> {
    let mut line = String::new();
    write_object(&mut line, fields.into_iter(), 1)?;
    Ok(line)
}

/// Reads one line written by [`to_line`], of at most `bytes_max` bytes, and refuses every other form of the same value.
pub fn from_line<T: DeserializeOwned>(bytes: &[u8], bytes_max: usize) -> Result<T, JsonError> {
    check(bytes, bytes_max)?;
    serde_json::from_slice(bytes).map_err(|error| {
        let text = error.to_string();
        // Other messages of serde quote what was found, which may be a name.
        let missing = text.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
        let missing = missing.map_or_else(String::new, |(field, _)| format!(": `{field}` is missing"));
        JsonError::Fields { at: error.column(), missing }
    })
}

/// Checks that `bytes` are one strict line, whatever its fields.
pub fn check(bytes: &[u8], bytes_max: usize) -> Result<(), JsonError> {
    if bytes.len() > bytes_max {
        return Err(JsonError::TooLong { found: bytes.len(), allowed: bytes_max });
    }
    recognise::recognise(bytes)
}

/// Brings a text from outside into the form that a line may hold.
pub fn nfc(text: &str) -> String {
    text.nfc().collect()
}

fn strict(tree: &Value) -> Result<String, JsonError> {
    let mut line = String::new();
    write_value(&mut line, tree, 0)?;
    Ok(line)
}

fn write_value(line: &mut String, value: &Value, depth: usize) -> Result<(), JsonError> {
    match value {
        Value::Null => return Err(JsonError::Null),
        Value::Bool(true) => line.push_str("true"),
        Value::Bool(false) => line.push_str("false"),
        Value::Number(number) => match number.as_i64() {
            Some(integer) if integer.unsigned_abs() <= INTEGER_MAX => line.push_str(&integer.to_string()),
            _ => return Err(JsonError::Number),
        },
        Value::String(text) => write_text(line, text)?,
        Value::Array(items) => write_array(line, items, depth + 1)?,
        Value::Object(fields) => write_object(line, fields.iter(), depth + 1)?,
    }
    Ok(())
}

fn write_text(line: &mut String, text: &str) -> Result<(), JsonError> {
    if !text.is_ascii() && !is_nfc(text) {
        return Err(JsonError::NotNfc);
    }
    if text.bytes().all(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
        line.push('"');
        line.push_str(text);
        line.push('"');
    } else {
        // serde_json escapes exactly what RFC 8785 says: quote, backslash, and what is below U+0020.
        line.push_str(&serde_json::to_string(text).map_err(|_| JsonError::Unrepresentable)?);
    }
    Ok(())
}

fn write_array(line: &mut String, items: &[Value], depth: usize) -> Result<(), JsonError> {
    if depth > DEPTH_MAX {
        return Err(JsonError::Depth);
    }
    line.push('[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            line.push(',');
        }
        write_value(line, item, depth)?;
    }
    line.push(']');
    Ok(())
}

fn write_object<'a>(
    line: &mut String,
    fields: impl Iterator<Item = (&'a String, &'a Value)>,
    depth: usize,
) -> Result<(), JsonError> {
    if depth > DEPTH_MAX {
        return Err(JsonError::Depth);
    }
    // serde_json's own map keeps the order of insertion when any crate of the build switches that feature on.
    let sorted: BTreeMap<&String, &Value> = fields.collect();
    line.push('{');
    for (at, (key, value)) in sorted.into_iter().enumerate() {
        if !is_key(key.as_bytes(), depth) {
            return Err(JsonError::Key);
        }
        if at > 0 {
            line.push(',');
        }
        line.push('"');
        line.push_str(key);
        line.push_str("\":");
        write_value(line, value, depth)?;
    }
    line.push('}');
    Ok(())
}

/// An outermost key never starts with a digit: it would sort before the `_prev` of a log leaf.
fn is_key(key: &[u8], depth: usize) -> bool {
    let first_ok = key.first().is_some_and(|first| depth > 1 || !first.is_ascii_digit());
    first_ok && key.iter().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Deserialize, PartialEq, Serialize)]
    struct Sample {
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        age: Option<u32>,
        _prev: String,
    }

    fn refused(line: &str) -> JsonError {
        from_line::<Value>(line.as_bytes(), 1 << 16).expect_err(line)
    }

    #[test]
    fn a_value_has_these_bytes_and_no_other() {
        let value = json!({
            "z": [true, false, -1, 0, 9_007_199_254_740_991_u64],
            "_seq": 7,
            "a": {"9": "Zürich \u{7f}\u{2028}😀", "_": "\"\\\u{8}\u{c}\n\r\t\u{1f}/"},
        });
        let golden = "{\"_seq\":7,\"a\":{\"9\":\"Zürich \u{7f}\u{2028}😀\",\"_\":\"\\\"\\\\\\b\\f\\n\\r\\t\\u001f/\"},\
                      \"z\":[true,false,-1,0,9007199254740991]}";
        assert_eq!(to_line(&value).unwrap(), golden);
        assert_eq!(from_line::<Value>(golden.as_bytes(), 1000).unwrap(), value);
        let fields: Object = from_line(golden.as_bytes(), 1000).unwrap();
        assert_eq!(object_to_line(&fields).unwrap(), golden);
    }

    #[test]
    fn a_structs_fields_are_sorted_and_read_back() {
        let sample = Sample { name: "x".into(), age: None, _prev: "0".into() };
        let line = to_line(&sample).unwrap();
        assert_eq!(line, r#"{"_prev":"0","name":"x"}"#);
        assert_eq!(from_line::<Sample>(line.as_bytes(), 100).unwrap(), sample);
    }

    #[test]
    fn other_forms_of_a_value_are_refused() {
        for line in [
            r#"{"b":1,"a":1}"#,
            r#"{"a": 1}"#,
            r#"{"a":1} "#,
            "{\"a\":1}\n",
            r#"{"a":"\u0041"}"#,
            r#"{"a":"\/"}"#,
            r#"{"a":"\u001F"}"#,
        ] {
            assert!(matches!(refused(line), JsonError::NotStrict { .. }), "{line}");
        }
        for line in [r#"{"a":1,"a":1}"#, r#"{"a":1,"a":2}"#] {
            assert_eq!(refused(line), JsonError::DuplicateKey);
        }
    }

    #[test]
    fn numbers_are_integers_that_every_reader_holds() {
        for number in [
            "1.0",
            "1.5",
            "1e2",
            "-0",
            "-0.0",
            "9007199254740992",
            "-9007199254740992",
            "18446744073709551615",
            "1e400",
        ] {
            let error = refused(&format!("{{\"a\":{number}}}"));
            assert!(matches!(error, JsonError::Number), "{number}: {error:?}");
        }
        assert_eq!(to_line(&json!({"a": 1.5})), Err(JsonError::Number));
        assert_eq!(to_line(&json!({"a": (1_u64 << 53)})), Err(JsonError::Number));
        assert_eq!(to_line(&json!({"a": i64::MIN})), Err(JsonError::Number));
        assert!(from_line::<Value>(br#"{"a":-9007199254740991}"#, 100).is_ok());
        assert_eq!(to_line(&f64::NAN), Err(JsonError::Null));
    }

    #[test]
    fn a_null_is_refused_both_ways() {
        assert_eq!(to_line(&json!({"a": null})), Err(JsonError::Null));
        assert_eq!(refused(r#"{"a":null}"#), JsonError::Null);
        assert_eq!(refused(r#"{"a":[null]}"#), JsonError::Null);
    }

    #[test]
    fn keys_are_plain_and_outermost_ones_never_start_with_a_digit() {
        for key in ["", "A", "a-b", "ä", "a b", "9", "$serde_json::private::Number"] {
            assert_eq!(to_line(&BTreeMap::from([(key, 1)])), Err(JsonError::Key), "{key:?}");
        }
        assert!(to_line(&json!({"a": {"9": 1}})).is_ok());
        assert_eq!(refused(r#"{"9":1}"#), JsonError::Key);
    }

    #[test]
    fn eight_containers_deep_and_no_deeper() {
        let nest = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(from_line::<Value>(nest(8).as_bytes(), 1000).is_ok());
        assert_eq!(refused(&nest(9)), JsonError::Depth);
        assert!(matches!(refused(&nest(20_000)), JsonError::Depth));
        assert_eq!(refused(&format!("{{\"a\":{}}}", nest(8))), JsonError::Depth);
    }

    #[test]
    fn strings_are_nfc_and_whole() {
        assert_eq!(to_line(&json!({"a": "u\u{308}"})), Err(JsonError::NotNfc));
        assert_eq!(refused("{\"a\":\"u\u{308}\"}"), JsonError::NotNfc);
        assert_eq!(nfc("u\u{308}"), "ü");
        for line in [r#"{"a":"\ud800"}"#, r#"{"a":"\udc00"}"#, r#"{"a":"\ud800\u0041"}"#, "{\"a\":\"\t\"}", "", "{"] {
            assert!(matches!(refused(line), JsonError::NotStrict { .. }), "{line}");
        }
        assert!(matches!(from_line::<Value>(b"{\"a\":\"\xff\"}", 100), Err(JsonError::NotStrict { .. })));
        assert!(matches!(from_line::<Value>(b"\xef\xbb\xbf{}", 100), Err(JsonError::NotStrict { .. })));
    }

    #[test]
    fn a_flattened_field_cannot_hide_another() {
        #[derive(Serialize)]
        struct Hides {
            kind: &'static str,
            #[serde(flatten)]
            facts: Object,
        }
        let hides = Hides { kind: "release", facts: Object::from([("kind".into(), json!("refusal"))]) };
        assert_eq!(to_line(&hides), Err(JsonError::DuplicateKey));
    }

    #[test]
    fn a_line_has_a_limit() {
        assert_eq!(from_line::<Value>(br#"{"a":1}"#, 6), Err(JsonError::TooLong { found: 7, allowed: 6 }));
        assert!(from_line::<Value>(br#"{"a":1}"#, 7).is_ok());
    }

    #[test]
    fn an_error_tells_the_missing_field_and_never_a_value() {
        let error = from_line::<Sample>(br#"{"_prev":"0"}"#, 100).expect_err("no name");
        assert!(error.to_string().contains("`name` is missing"), "{error}");
        let error = from_line::<Sample>(br#"{"_prev":"0","age":"Erika","name":"x"}"#, 100).expect_err("age is a text");
        assert!(!format!("{error} {error:?}").contains("Erika"), "{error:?}");
    }
}
