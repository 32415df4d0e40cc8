//! Tells in one pass, without building anything, whether bytes are one strict line.
//!
//! Rule: it says yes to exactly what the writer writes; a test compares the two over every mutation of many lines. A
//! verifier reads each leaf of the log through it, so it must not be slower than hashing.

use unicode_normalization::is_nfc;

use super::{DEPTH_MAX, INTEGER_MAX, JsonError, is_key};

pub(super) fn recognise(bytes: &[u8]) -> Result<(), JsonError> {
    if is_surely_strict(bytes) {
        return Ok(());
    }
    let mut text = Text { bytes, at: 0 };
    text.value(0)?;
    if text.at == bytes.len() { Ok(()) } else { Err(JsonError::NotStrict { at: text.at + 1 }) }
}

/// Whether it is an object of strings, numbers and truths, in which every byte stands for itself: nearly every leaf is.
/// `false` says nothing.
pub(super) fn is_surely_strict(bytes: &[u8]) -> bool {
    if bytes.first() != Some(&b'{') || !all_stand_for_themselves(bytes) {
        return false;
    }
    // Nothing is escaped: the next quote is the end of a key or a string.
    let (mut rest, mut before): (_, &[u8]) = (&bytes[1..], b"");
    loop {
        let Some(key) = rest.strip_prefix(b"\"") else { return false };
        let length = key.iter().take_while(|byte| KEY_BYTES[usize::from(**byte)]).count();
        let (key, value) = key.split_at(length);
        let Some(value) = value.strip_prefix(b"\":") else { return false };
        // Outermost keys start with no digit. Most differ in their first letter already.
        let sorted = match (key.first(), before.first()) {
            (Some(first), Some(earlier)) if first != earlier => first > earlier,
            _ => key > before,
        };
        if !sorted || key[0].is_ascii_digit() {
            return false;
        }
        before = key;
        let length = match value {
            [b'"', text @ ..] => match quote(text) {
                Some(length) => length + 2,
                None => return false,
            },
            // Up to 15 digits every number is small enough.
            [b'1'..=b'9', ..] => value.iter().take(15).take_while(|byte| byte.is_ascii_digit()).count(),
            [b'0', ..] => 1,
            [b't', b'r', b'u', b'e', ..] => 4,
            [b'f', b'a', b'l', b's', b'e', ..] => 5,
            _ => return false,
        };
        match &value[length..] {
            [b',', next @ ..] => rest = next,
            [b'}'] => return true,
            _ => return false,
        }
    }
}

/// ASCII but backslash and control characters; unlike [`is_plain`], a quote does, too.
fn all_stand_for_themselves(bytes: &[u8]) -> bool {
    let is_other = |byte: u8| u8::from(byte.wrapping_sub(b' ') > b'~' - b' ') | u8::from(byte == b'\\');
    // Whole chunks without a branch for each byte, which the compiler makes wide instructions of.
    let (chunks, rest) = bytes.as_chunks::<64>();
    let none = |bytes: &[u8]| bytes.iter().fold(0, |other, byte| other | is_other(*byte)) == 0;
    chunks.iter().all(|chunk| none(chunk)) && none(rest)
}

/// Where the first quote stands, eight bytes at a time.
fn quote(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xff;
    let (chunks, rest) = bytes.as_chunks::<8>();
    for (number, chunk) in chunks.iter().enumerate() {
        // A byte of zero where the quote was; the lowest one is marked rightly, whatever stands above it.
        let quotes = u64::from_le_bytes(*chunk) ^ (ONES * u64::from(b'"'));
        let marked = quotes.wrapping_sub(ONES) & !quotes & (ONES << 7);
        if marked != 0 {
            return Some(number * 8 + (marked.trailing_zeros() / 8) as usize);
        }
    }
    rest.iter().position(|byte| *byte == b'"').map(|at| chunks.len() * 8 + at)
}

/// Of what keys are made.
const KEY_BYTES: [bool; 256] = {
    let (mut table, mut byte) = ([false; 256], 0_u8);
    while byte < u8::MAX {
        table[byte as usize] = matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        byte += 1;
    }
    table
};

struct Text<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Text<'a> {
    fn value(&mut self, depth: usize) -> Result<(), JsonError> {
        match self.bytes.get(self.at) {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.take(b"true") || self.take(b"false") => Ok(()),
            _ if self.take(b"null") => Err(JsonError::Null),
            _ => Err(self.not_strict()),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), JsonError> {
        self.open(b'{', depth)?;
        if self.take(b"}") {
            return Ok(());
        }
        let mut before: &[u8] = b"";
        loop {
            let key = self.key(depth)?;
            if key <= before {
                return Err(if key == before { JsonError::DuplicateKey } else { self.not_strict() });
            }
            before = key;
            self.value(depth)?;
            if self.take(b"}") {
                return Ok(());
            }
            self.expect(b",")?;
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), JsonError> {
        self.open(b'[', depth)?;
        if self.take(b"]") {
            return Ok(());
        }
        loop {
            self.value(depth)?;
            if self.take(b"]") {
                return Ok(());
            }
            self.expect(b",")?;
        }
    }

    fn open(&mut self, bracket: u8, depth: usize) -> Result<(), JsonError> {
        self.expect(&[bracket])?;
        if depth > DEPTH_MAX { Err(JsonError::Depth) } else { Ok(()) }
    }

    fn key(&mut self, depth: usize) -> Result<&'a [u8], JsonError> {
        self.expect(b"\"")?;
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| *byte == b'"').ok_or(self.not_strict())?;
        let key = &rest[..length];
        if !is_key(key, depth) {
            return Err(JsonError::Key);
        }
        self.at += length;
        self.expect(b"\":")?;
        Ok(key)
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let negative = self.take(b"-");
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        let digits = &rest[..length];
        let zero_first = digits.first() == Some(&b'0');
        if digits.is_empty() || digits.len() > 16 || (zero_first && (digits.len() > 1 || negative)) {
            return Err(JsonError::Number);
        }
        if digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')) > INTEGER_MAX {
            return Err(JsonError::Number);
        }
        self.at += length;
        // A fraction or an exponent: JSON, but no integer.
        if matches!(self.bytes.get(self.at), Some(b'.' | b'e' | b'E')) { Err(JsonError::Number) } else { Ok(()) }
    }

    fn string(&mut self) -> Result<(), JsonError> {
        self.expect(b"\"")?;
        let start = self.at;
        let (mut ascii, mut escaped) = (true, false);
        loop {
            self.at += plain_length(&self.bytes[self.at..]);
            match self.bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.escape()?;
                    escaped = true;
                }
                Some(0x80..) => {
                    ascii = false;
                    self.at += 1;
                }
                Some(_) | None => return Err(self.not_strict()),
            }
        }
        let content = &self.bytes[start..self.at];
        self.at += 1;
        if ascii { Ok(()) } else { self.beyond_ascii(content, escaped) }
    }

    fn beyond_ascii(&self, content: &[u8], escaped: bool) -> Result<(), JsonError> {
        let text = std::str::from_utf8(content).map_err(|_| self.not_strict())?;
        // Every letter below U+0300, the first combining mark, is in NFC whatever stands beside it.
        if content.iter().all(|byte| *byte < FIRST_COMBINING) {
            return Ok(());
        }
        // An escape's last letter is not there once read: `\t` and U+0308 do not make a letter.
        let nfc = if escaped {
            let read: String = serde_json::from_str(&format!("\"{text}\"")).map_err(|_| self.not_strict())?;
            is_nfc(&read)
        } else {
            is_nfc(text)
        };
        if nfc { Ok(()) } else { Err(JsonError::NotNfc) }
    }

    /// The escapes that RFC 8785 writes: the short ones, and `\u00xx` for the other characters below U+0020.
    fn escape(&mut self) -> Result<(), JsonError> {
        let rest = &self.bytes[self.at + 1..];
        let length = match rest {
            [b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 2,
            [b'u', b'0', b'0', high, low, ..] if has_no_short_escape(*high, *low) => 6,
            _ => return Err(self.not_strict()),
        };
        self.at += length;
        Ok(())
    }

    fn take(&mut self, wanted: &[u8]) -> bool {
        let taken = self.bytes[self.at..].starts_with(wanted);
        self.at += if taken { wanted.len() } else { 0 };
        taken
    }

    fn expect(&mut self, wanted: &[u8]) -> Result<(), JsonError> {
        if self.take(wanted) { Ok(()) } else { Err(self.not_strict()) }
    }

    const fn not_strict(&self) -> JsonError {
        JsonError::NotStrict { at: self.at + 1 }
    }
}

/// How many bytes from the first on stand for themselves within a string.
fn plain_length(bytes: &[u8]) -> usize {
    // Whole chunks without a branch for each byte: most of a leaf lies within strings.
    let (chunks, _) = bytes.as_chunks::<16>();
    let whole =
        chunks.iter().take_while(|chunk| chunk.iter().fold(true, |plain, byte| plain & is_plain(*byte))).count();
    let rest = &bytes[whole * 16..];
    whole * 16 + rest.iter().position(|byte| !is_plain(*byte)).unwrap_or(rest.len())
}

/// ASCII but quote, backslash and what is below U+0020.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7f)
}

/// The first byte of U+0300 in UTF-8.
const FIRST_COMBINING: u8 = 0xcc;

/// The hex digits of a character below U+0020 other than backspace, tab, newline, form feed and return.
const fn has_no_short_escape(high: u8, low: u8) -> bool {
    matches!((high, low), (b'0', b'0'..=b'7' | b'b' | b'e' | b'f') | (b'1', b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{from_line, to_line};
    use proptest::prelude::*;
    use serde_json::Value;

    /// The other way to tell: read it as any JSON, write it strictly, compare.
    fn round_trip(bytes: &[u8]) -> bool {
        let Ok(tree) = serde_json::from_slice::<Value>(bytes) else { return false };
        to_line(&tree).is_ok_and(|line| line.as_bytes() == bytes)
    }

    const LINES: [&str; 10] = [
        r#"{"_prev":"00","a":"b c","d":false,"e":true,"f":0,"g":123456789012345}"#,
        r#"{"_prev":"00","_seq":12,"a":{"b":[1,-2,0,true,false,"x"],"c":{}},"d":[]}"#,
        "{\"a\":\"Zürich \u{7f}\u{2028}😀\",\"b\":\"\\\"\\\\\\b\\f\\n\\r\\t\\u001f\\u0000\\u000b/\"}",
        "{\"a\":\"\\t\u{308}\",\"b\":\"\\n\u{301}ü\"}",
        r"[[[[[[[[]]]]]]]]",
        r"[9007199254740991,-9007199254740991,10,0]",
        r#"{"a":1,"a1":2,"aa":3,"b_":4}"#,
        r#""text""#,
        "true",
        "-7",
    ];

    #[test]
    fn it_agrees_with_the_writer_on_every_change_of_one_byte() {
        for line in LINES {
            assert_eq!(recognise(line.as_bytes()), Ok(()), "{line}");
            for at in 0..line.len() {
                for byte in 0..=255 {
                    let mut changed = line.as_bytes().to_vec();
                    changed[at] = byte;
                    assert_eq!(recognise(&changed).is_ok(), round_trip(&changed), "{}", changed.escape_ascii());
                    changed.insert(at, line.as_bytes()[at]);
                    assert_eq!(recognise(&changed).is_ok(), round_trip(&changed), "{}", changed.escape_ascii());
                }
                let mut shorter = line.as_bytes().to_vec();
                shorter.remove(at);
                assert_eq!(recognise(&shorter).is_ok(), round_trip(&shorter), "{}", shorter.escape_ascii());
            }
        }
    }

    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("{"),
            Just("}"),
            Just("["),
            Just("]"),
            Just(","),
            Just(":"),
            Just("\"a\":"),
            Just("\"b\":"),
            Just("\"\""),
            Just("\"u\u{308}\""),
            Just("\"ü\""),
            Just("1"),
            Just("0"),
            Just("-"),
            Just("."),
            Just("e5"),
            Just("null"),
            Just("true"),
            Just("\\"),
            Just("\""),
            Just(" "),
            Just("\\u0041"),
            Just("9007199254740992"),
            Just("\u{308}"),
            Just("\\t"),
        ];
        prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
    }

    fn trees() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1000_i64..1000).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c0_]{0,2}", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_agrees_with_the_writer_on_anything(text in pieces()) {
            prop_assert_eq!(recognise(text.as_bytes()).is_ok(), round_trip(text.as_bytes()), "{}", text);
        }

        #[test]
        fn what_the_writer_writes_reads_back(tree in trees()) {
            if let Ok(line) = to_line(&tree) {
                prop_assert_eq!(from_line::<Value>(line.as_bytes(), 1 << 20), Ok(tree));
            }
        }
    }
}
