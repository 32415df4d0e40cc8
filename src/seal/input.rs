//! The start of a sealed file: armoured or not, and its header within limits.
//!
//! Rule: nothing that a sender writes before the first chunk makes us keep more of it than a header may have.

use std::io::{self, BufRead, BufReader, Read};

use age::armor::ArmoredReader;

use super::{HEADER_BYTES_MAX, OpenError, opening};

/// Reads an age header, up to and with the line of the MAC. age itself would read on as long as no header ends.
pub(super) fn read_header(input: &mut impl BufRead) -> Result<Vec<u8>, OpenError> {
    let mut header = Vec::new();
    loop {
        let line = header.len();
        let left = HEADER_BYTES_MAX - line;
        input.take(left as u64).read_until(b'\n', &mut header).map_err(|error| opening(error.into()))?;
        if header[line..].starts_with(b"--- ") || !header[line..].ends_with(b"\n") {
            break;
        }
    }
    if header.len() == HEADER_BYTES_MAX {
        return Err(OpenError::Header(format!("it does not end within {HEADER_BYTES_MAX} bytes")));
    }
    check_stanzas(&header)?;
    Ok(header)
}

/// Each stanza ends with a line of less than 64 characters, be it empty. age 0.12 still takes files without it, which age's
/// specification and its other programs refuse.
fn check_stanzas(header: &[u8]) -> Result<(), OpenError> {
    let mut in_stanza = false;
    for line in header.split(|byte| *byte == b'\n') {
        match line {
            [b'-', ..] if in_stanza => return Err(OpenError::Header("a stanza has no last line".to_owned())),
            [b'-', b'>', ..] => in_stanza = true,
            _ => in_stanza &= line.len() >= 64,
        }
    }
    Ok(())
}

/// A sealed file, armoured or not. What is not armoured does not go through age's reader of armour, which would pass it
/// on in pieces of some bytes.
pub(super) enum Input<R: Read> {
    Plain(BufReader<Started<R>>),
    Armoured(ArmoredReader<BufReader<Lines<Started<R>>>>),
}

pub(super) type Started<R> = io::Chain<io::Cursor<Vec<u8>>, R>;

impl<R: Read> Input<R> {
    pub(super) fn new(mut file: R) -> Result<Self, OpenError> {
        let mut start = Vec::new();
        let mut skipped = 0;
        loop {
            let missing = MAGIC.len() - start.len();
            (&mut file).take(missing as u64).read_to_end(&mut start).map_err(OpenError::Read)?;
            let spaces = start.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            if spaces == 0 {
                break;
            }
            start.drain(..spaces);
            skipped += spaces;
            if skipped > SPACES_MAX {
                return Err(OpenError::Header(format!("more than {SPACES_MAX} spaces stand before it")));
            }
        }
        let (plain, armoured) = (start == MAGIC && skipped == 0, start == ARMOUR);
        let file = io::Cursor::new(start).chain(file);
        match (plain, armoured) {
            (true, _) => Ok(Self::Plain(BufReader::new(file))),
            (_, true) => Ok(Self::Armoured(ArmoredReader::new(Lines { from: file, line: 0 }))),
            _ => Err(OpenError::Header("it does not begin as one of version 1".to_owned())),
        }
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(input) => input.read(buffer),
            Self::Armoured(input) => input.read(buffer),
        }
    }
}

impl<R: Read> BufRead for Input<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self {
            Self::Plain(input) => input.fill_buf(),
            Self::Armoured(input) => input.fill_buf(),
        }
    }

    fn consume(&mut self, count: usize) {
        match self {
            Self::Plain(input) => input.consume(count),
            Self::Armoured(input) => input.consume(count),
        }
    }
}

/// Refuses a line that never ends, which the reader of armour would keep in memory.
pub(super) struct Lines<R> {
    from: R,
    line: usize,
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.line = match buffer[..count].iter().rposition(|byte| *byte == b'\n') {
            Some(end) => count - end - 1,
            None => self.line + count,
        };
        if self.line > ARMOUR_LINE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line of the armour does not end"));
        }
        Ok(count)
    }
}

const MAGIC: &[u8] = b"age-encryption.org/v1\n";
/// The first bytes of armour, as many as of the other.
const ARMOUR: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----".first_chunk::<{ MAGIC.len() }>().expect("it is longer");
/// How many spaces may stand before armour.
const SPACES_MAX: usize = 1024;
/// Lines of armour have 64 characters; spaces around the armour may be longer. Larger than any buffer it is read with.
const ARMOUR_LINE_BYTES_MAX: usize = 64 * 1024;
