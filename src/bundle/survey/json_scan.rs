//! JSON in passing (RFC 8259): bytes in, events out, nothing kept but the open containers and one text.
//!
//! Rule: the first byte that is not JSON ends the scan for good; two readers that disagree about the rest cannot
//! both be right.

/// What stands in a JSON document, in order.
pub(super) trait Sink {
    fn open_object(&mut self);
    fn close_object(&mut self);
    fn open_array(&mut self);
    fn close_array(&mut self);
    /// A member's name, cut at the bound; `false` refuses the document as ambiguous.
    fn key(&mut self, key: &str) -> bool;
    /// Whether the value about to come is worth keeping; others pass as `None`.
    fn wants(&self) -> bool;
    /// A text (`None` when not wanted), a number or a literal (always `None`).
    fn scalar(&mut self, text: Option<&str>);
}

/// Why a scan ended before the document did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    Syntax,
    TooDeep,
    NotUtf8,
    Trailing,
    RepeatedKey,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// A value must come.
    Value,
    /// A value or the end of the array may come.
    ValueOrEnd,
    /// A key or the end of the object may come.
    KeyOrEnd,
    Key,
    Colon,
    /// A comma or the end of the container may come.
    After,
    Text {
        key: bool,
        wanted: bool,
    },
    Escape {
        key: bool,
        wanted: bool,
    },
    /// Hex digits of `\u` read so far, and their value.
    Unicode {
        key: bool,
        wanted: bool,
        digits: u8,
        unit: u16,
    },
    Number,
    Literal {
        rest: &'static [u8],
    },
    Done,
}

/// The scanner.
pub(super) struct JsonScan {
    state: State,
    /// Open containers: `true` for an object.
    open: Vec<bool>,
    depth_max: usize,
    text_bytes_max: usize,
    text: Vec<u8>,
    number: Vec<u8>,
    /// A high surrogate that waits for its low one.
    surrogate: Option<u16>,
    utf8: Utf8,
    fault: Option<Fault>,
}

impl JsonScan {
    pub(super) fn new(depth_max: usize, text_bytes_max: usize) -> Self {
        Self {
            state: State::Value,
            open: Vec::new(),
            depth_max,
            text_bytes_max,
            text: Vec::new(),
            number: Vec::new(),
            surrogate: None,
            utf8: Utf8::default(),
            fault: None,
        }
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Whether a whole document, and nothing after it, has gone by.
    pub(super) fn is_whole(&self) -> bool {
        self.fault.is_none()
            && self.utf8.is_whole()
            && (self.state == State::Done
                || (self.state == State::Number && self.open.is_empty() && is_number(&self.number)))
    }

    pub(super) fn push(&mut self, bytes: &[u8], sink: &mut impl Sink) {
        if self.fault.is_some() {
            return;
        }
        let sound = self.utf8.push(bytes);
        let bytes = &bytes[..sound];
        let mut at = 0;
        while at < bytes.len() {
            let step = match self.state {
                State::Text { key, wanted } => self.text(&bytes[at..], key, wanted, sink),
                _ => self.byte(bytes[at], sink),
            };
            match step {
                Ok(taken) => at += taken,
                Err(fault) => {
                    self.fault = Some(fault);
                    break;
                }
            }
        }
        if self.utf8.broken && self.fault.is_none() {
            self.fault = Some(Fault::NotUtf8);
        }
    }

    /// Takes as much of a text as there is without an escape.
    fn text(&mut self, bytes: &[u8], key: bool, wanted: bool, sink: &mut impl Sink) -> Result<usize, Fault> {
        let plain = bytes.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=31)).unwrap_or(bytes.len());
        if wanted {
            let room = self.text_bytes_max.saturating_sub(self.text.len());
            self.text.extend_from_slice(&bytes[..plain.min(room)]);
        }
        match bytes.get(plain) {
            None => return Ok(plain),
            Some(b'\\') => {
                self.state = State::Escape { key, wanted };
                return Ok(plain + 1);
            }
            Some(b'"') => {}
            Some(_) => return Err(Fault::Syntax),
        }
        self.surrogate = None;
        // Cut at the bound, perhaps within a character; a character that is truly broken is found by `Utf8`.
        let text = String::from_utf8_lossy(&self.text);
        if key {
            if !sink.key(&text) {
                return Err(Fault::RepeatedKey);
            }
            self.state = State::Colon;
        } else {
            sink.scalar(wanted.then_some(&*text));
            self.state = self.after();
        }
        self.text.clear();
        Ok(plain + 1)
    }

    fn byte(&mut self, byte: u8, sink: &mut impl Sink) -> Result<usize, Fault> {
        match self.state {
            State::Escape { key, wanted } => return self.escape(byte, key, wanted),
            State::Unicode { key, wanted, digits, unit } => return self.unicode(byte, key, wanted, digits, unit),
            State::Literal { rest } => {
                let Some((expected, rest)) = rest.split_first() else { return Err(Fault::Syntax) };
                if byte != *expected {
                    return Err(Fault::Syntax);
                }
                if rest.is_empty() {
                    sink.scalar(None);
                    self.state = self.after();
                } else {
                    self.state = State::Literal { rest };
                }
                return Ok(1);
            }
            State::Number => {
                if matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E') {
                    // Any length is JSON, but no real number is this long.
                    if self.number.len() >= NUMBER_BYTES_MAX {
                        return Err(Fault::Syntax);
                    }
                    self.number.push(byte);
                    return Ok(1);
                }
                if !is_number(&self.number) {
                    return Err(Fault::Syntax);
                }
                sink.scalar(None);
                self.state = self.after();
                return Ok(0);
            }
            _ => {}
        }
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            return Ok(1);
        }
        match (self.state, byte) {
            (State::Done, _) => return Err(Fault::Trailing),
            (State::KeyOrEnd | State::Key, b'"') => self.state = State::Text { key: true, wanted: true },
            (State::Colon, b':') => self.state = State::Value,
            (State::After, b',') => {
                self.state = if self.open.last() == Some(&true) { State::Key } else { State::Value };
            }
            (State::KeyOrEnd, b'}') | (State::ValueOrEnd, b']') | (State::After, b'}' | b']') => {
                self.close(byte, sink)?;
            }
            (State::Value | State::ValueOrEnd, _) => self.value(byte, sink)?,
            _ => return Err(Fault::Syntax),
        }
        Ok(1)
    }

    fn value(&mut self, byte: u8, sink: &mut impl Sink) -> Result<(), Fault> {
        self.state = match byte {
            b'{' | b'[' => {
                if self.open.len() >= self.depth_max {
                    return Err(Fault::TooDeep);
                }
                let object = byte == b'{';
                self.open.push(object);
                if object {
                    sink.open_object();
                    State::KeyOrEnd
                } else {
                    sink.open_array();
                    State::ValueOrEnd
                }
            }
            b'"' => State::Text { key: false, wanted: sink.wants() },
            b't' => State::Literal { rest: b"rue" },
            b'f' => State::Literal { rest: b"alse" },
            b'n' => State::Literal { rest: b"ull" },
            b'-' | b'0'..=b'9' => {
                self.number.clear();
                self.number.push(byte);
                State::Number
            }
            _ => return Err(Fault::Syntax),
        };
        Ok(())
    }

    fn close(&mut self, byte: u8, sink: &mut impl Sink) -> Result<(), Fault> {
        match (self.open.pop(), byte) {
            (Some(true), b'}') => sink.close_object(),
            (Some(false), b']') => sink.close_array(),
            _ => return Err(Fault::Syntax),
        }
        self.state = self.after();
        Ok(())
    }

    fn after(&self) -> State {
        if self.open.is_empty() { State::Done } else { State::After }
    }

    fn escape(&mut self, byte: u8, key: bool, wanted: bool) -> Result<usize, Fault> {
        let plain = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.state = State::Unicode { key, wanted, digits: 0, unit: 0 };
                return Ok(1);
            }
            _ => return Err(Fault::Syntax),
        };
        self.keep(plain, wanted);
        self.state = State::Text { key, wanted };
        Ok(1)
    }

    fn unicode(&mut self, byte: u8, key: bool, wanted: bool, digits: u8, unit: u16) -> Result<usize, Fault> {
        let digit = char::from(byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok()).ok_or(Fault::Syntax)?;
        let unit = unit << 4 | digit;
        if digits < 3 {
            self.state = State::Unicode { key, wanted, digits: digits + 1, unit };
            return Ok(1);
        }
        self.state = State::Text { key, wanted };
        let units = [self.surrogate.take().unwrap_or(unit), unit];
        if matches!(unit, 0xd800..=0xdbff) {
            self.surrogate = Some(unit);
        } else if let Some(Ok(c)) = char::decode_utf16(units).next() {
            self.keep(c, wanted);
        } else {
            self.keep(char::REPLACEMENT_CHARACTER, wanted);
        }
        Ok(1)
    }

    fn keep(&mut self, c: char, wanted: bool) {
        if wanted && self.text.len() + c.len_utf8() <= self.text_bytes_max {
            self.text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

const NUMBER_BYTES_MAX: usize = 512;

/// RFC 8259, section 6.
fn is_number(text: &[u8]) -> bool {
    fn digits(text: &[u8]) -> (usize, &[u8]) {
        let count = text.iter().take_while(|b| b.is_ascii_digit()).count();
        (count, &text[count..])
    }
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let (whole, mut rest) = digits(text);
    if whole == 0 || (whole > 1 && text[0] == b'0') {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        let (count, after) = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = after;
    }
    if let Some(exponent) = rest.strip_prefix(b"e").or_else(|| rest.strip_prefix(b"E")) {
        let exponent = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let (count, after) = digits(exponent);
        if count == 0 {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

/// Checks UTF-8 across pieces.
#[derive(Default)]
struct Utf8 {
    carry: Vec<u8>,
    broken: bool,
}

impl Utf8 {
    fn is_whole(&self) -> bool {
        !self.broken && self.carry.is_empty()
    }

    /// How many of `bytes` stand before the first that is not UTF-8: the same however the document is cut.
    fn push(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while !self.broken && !self.carry.is_empty() && at < bytes.len() {
            self.carry.push(bytes[at]);
            match std::str::from_utf8(&self.carry) {
                Ok(_) => self.carry.clear(),
                Err(error) if error.error_len().is_some() => {
                    self.broken = true;
                    return at;
                }
                Err(_) => {}
            }
            at += 1;
        }
        if self.broken {
            return 0;
        }
        let Err(error) = std::str::from_utf8(&bytes[at..]) else { return bytes.len() };
        let start = at + error.valid_up_to();
        let Some(wrong) = error.error_len() else {
            self.carry = bytes[start..].to_vec();
            return bytes.len();
        };
        self.broken = true;
        // The wrong sequence is either one wrong byte or the start of a character that the next byte breaks off.
        let starts_well = std::str::from_utf8(&bytes[start..start + wrong]).is_err_and(|e| e.error_len().is_none());
        if starts_well { start + wrong } else { start }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Keep(String);
    impl Sink for Keep {
        fn open_object(&mut self) {
            self.0.push('{');
        }
        fn close_object(&mut self) {
            self.0.push('}');
        }
        fn open_array(&mut self) {
            self.0.push('[');
        }
        fn close_array(&mut self) {
            self.0.push(']');
        }
        fn key(&mut self, key: &str) -> bool {
            self.0.push_str(key);
            self.0.push(':');
            true
        }
        fn wants(&self) -> bool {
            true
        }
        fn scalar(&mut self, text: Option<&str>) {
            self.0.push_str(text.unwrap_or("#"));
            self.0.push(',');
        }
    }

    fn scan(document: &[u8], piece: usize) -> (String, Option<Fault>, bool) {
        let mut scan = JsonScan::new(16, 64);
        let mut keep = Keep::default();
        for chunk in document.chunks(piece) {
            scan.push(chunk, &mut keep);
        }
        (keep.0, scan.fault(), scan.is_whole())
    }

    #[test]
    fn a_document_reads_alike_in_any_pieces() {
        let document = r#" {"a":[1,-2.5e+3,true,null,"x\"\u00e9\ud83d\ude00ü"],"b":{},"c":[]} "#.as_bytes();
        for piece in 1..=document.len() {
            let (seen, fault, whole) = scan(document, piece);
            assert_eq!(seen, "{a:[#,#,#,#,x\"é😀ü,]b:{}c:[]}");
            assert_eq!((fault, whole), (None, true), "in pieces of {piece}");
        }
    }

    #[test]
    fn every_valid_document_is_whole_and_no_other() {
        // serde_json as the judge, for what it and RFC 8259 agree on.
        for text in ["{}", "[]", "0", "-0", "1.5", "\"\"", "true", "[1,[2]]", "{\"a\":{\"b\":null}}"] {
            assert!(serde_json::from_str::<serde_json::Value>(text).is_ok());
            assert!(scan(text.as_bytes(), 1).2, "{text}");
        }
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "01",
            "1.",
            "1e",
            "-",
            "tru",
            "nulll",
            "[1 2]",
            "{]",
            "[}",
            "\"\u{1}\"",
            "\"\\x\"",
            "\"\\u12g4\"",
            "{} {}",
            "{}x",
            "[\"a",
            "{a:1}",
            "'a'",
            "+1",
            ".5",
            "]",
        ] {
            assert!(serde_json::from_str::<serde_json::Value>(text).is_err());
            assert!(!scan(text.as_bytes(), 1).2, "{text}");
        }
    }

    #[test]
    fn depth_and_encoding_are_bounded() {
        assert_eq!(scan(&[b'['; 17], 5).1, Some(Fault::TooDeep));
        assert_eq!(scan(b"{\"a\":\"\xff\"}", 2).1, Some(Fault::NotUtf8));
        assert_eq!(scan(b"{} {", 1).1, Some(Fault::Trailing));
    }
}
