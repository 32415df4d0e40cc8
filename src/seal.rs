//! Sealing and opening with age: age-encryption.org/v1 with X25519 recipients.
//!
//! Rule: what is sealed is plain age, so that any age program opens it; what does not open says why, and plaintext
//! counts only after the last chunk has verified.

mod beside;
mod input;

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

use crate::id::Digest;
use crate::reason::Reason;
use beside::Beside;
use input::{Input, read_header};

/// Why something was not sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// A recipient is not an X25519 one.
    #[error("{0:?} is not an age recipient of the kind age1...")]
    Recipient(String),
    /// There is no recipient.
    #[error("there is no recipient to seal to")]
    NoRecipient,
    /// More recipients than fit into a header that we would open again.
    #[error("{found} recipients; {RECIPIENTS_MAX} are allowed")]
    TooMany {
        /// How many were given.
        found: usize,
    },
    /// The recipients cannot be combined.
    #[error("age cannot seal to these recipients together")]
    Recipients,
    /// The sealed file could not be written.
    #[error("the sealed file cannot be written")]
    Write(#[from] io::Error),
}

/// Why something does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// None of the identities is a recipient.
    #[error("none of the identities given opens this file")]
    WrongKey,
    /// The identity file holds nothing that opens an age file.
    #[error("the identity file is not one that age writes: {0}")]
    Identity(String),
    /// It is not an age file, or its header was changed.
    #[error("the file is not an age file, or its header is damaged: {0}")]
    Header(String),
    /// It could not be read.
    #[error("the sealed file cannot be read")]
    Read(#[source] io::Error),
}

impl OpenError {
    /// The stable code.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::WrongKey => Reason::WrongKey,
            Self::Identity(_) => Reason::BadInput,
            Self::Header(_) => Reason::Tampered,
            Self::Read(_) => Reason::Unreadable,
        }
    }
}

/// A sealed file as it stands on the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SealedFile {
    /// SHA-256 of the whole file.
    pub sha256: Digest,
    /// Its size, in bytes.
    pub bytes: u64,
    /// How many of them are the age header, with the wrapped file key.
    pub header_bytes: u64,
}

/// Seals what is written to it, on two cores beside that of the caller once it is more than a megabyte: one encrypts, one
/// digests and writes what was encrypted. Nothing is complete before [`SealWriter::finish`].
pub struct SealWriter<W: Write> {
    stream: Beside<age::stream::StreamWriter<Beside<Measure<W>>>>,
}

impl<W: Write> std::fmt::Debug for SealWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealWriter")
    }
}

/// Seals to `recipients` (texts such as `age1...`), writing the age file to `out`.
pub fn seal<W: Write + Send + 'static>(recipients: &[String], out: W) -> Result<SealWriter<W>, SealError> {
    if recipients.is_empty() {
        return Err(SealError::NoRecipient);
    }
    if recipients.len() > RECIPIENTS_MAX {
        return Err(SealError::TooMany { found: recipients.len() });
    }
    let parsed = recipients
        .iter()
        .map(|text| {
            text.parse::<age::x25519::Recipient>().map_err(|_| SealError::Recipient(text.chars().take(64).collect()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let encryptor = age::Encryptor::with_recipients(parsed.iter().map(|recipient| recipient as &dyn age::Recipient))
        .map_err(|_| SealError::Recipients)?;
    Ok(SealWriter { stream: Beside::new(encryptor.wrap_output(Beside::new(Measure::new(out)))?) })
}

impl<W: Write + Send + 'static> Write for SealWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl<W: Write + Send + 'static> SealWriter<W> {
    /// Writes the last chunk, and hands back the output with the measures of the file.
    pub fn finish(self) -> Result<(W, SealedFile), SealError> {
        let measure = self.stream.finish()?.finish()?.finish()?;
        let header_bytes = measure.header_bytes();
        Ok((
            measure.out,
            SealedFile {
                sha256: Digest::from_bytes(measure.sha256.finalize().into()),
                bytes: measure.bytes,
                header_bytes,
            },
        ))
    }
}

/// Counts and hashes what goes by, and keeps the start until the header has ended.
struct Measure<W> {
    out: W,
    sha256: Sha256,
    bytes: u64,
    start: Vec<u8>,
}

impl<W> Measure<W> {
    fn new(out: W) -> Self {
        Self { out, sha256: Sha256::new(), bytes: 0, start: Vec::new() }
    }

    fn header_bytes(&self) -> u64 {
        header_length(&self.start).expect("age writes a whole header first") as u64
    }
}

impl<W: Write> Write for Measure<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.sha256.update(&bytes[..count]);
        self.bytes += count as u64;
        if self.start.len() < HEADER_BYTES_MAX && header_length(&self.start).is_none() {
            self.start.extend_from_slice(&bytes[..count]);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// The length of the age header at the start of `file`: up to and with the line of the MAC. `None` when it does not
/// end within `file` or within the limit.
pub fn header_length(file: &[u8]) -> Option<usize> {
    let start = &file[..file.len().min(HEADER_BYTES_MAX)];
    let mac = start.windows(5).position(|window| window == b"\n--- ")? + 1;
    start[mac..].iter().position(|byte| *byte == b'\n').map(|end| mac + end + 1)
}

/// The longest age header that is accepted, in bytes: more than [`RECIPIENTS_MAX`] need.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;
/// How many recipients a file may have.
pub const RECIPIENTS_MAX: usize = 100;

/// The secret side of a recipient, read from an identity file.
pub struct Identities(Vec<Box<dyn age::Identity>>);

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identities({})", self.0.len())
    }
}

impl Identities {
    /// Reads the text of an identity file as `age-keygen` writes it; several identities are allowed.
    pub fn parse(text: &str) -> Result<Self, OpenError> {
        let mut identities: Vec<Box<dyn age::Identity>> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            // The line itself may be a secret: it is never repeated.
            let identity: age::x25519::Identity =
                line.parse().map_err(|_| OpenError::Identity(format!("line {} is not an identity", number + 1)))?;
            identities.push(Box::new(identity));
        }
        if identities.is_empty() {
            return Err(OpenError::Identity("it holds no identity".to_owned()));
        }
        Ok(Self(identities))
    }
}

/// Opens an age file, armoured or not. The reader fails with [`io::ErrorKind::InvalidData`] where the content was
/// changed, and what it gave before counts only when it has come to its end.
pub fn open<R: Read>(file: R, identities: &Identities) -> Result<Opened<R>, OpenError> {
    open_with(file, identities.0.iter().map(AsRef::as_ref))
}

/// Opens with identities of any kind that age has.
pub fn open_with<'a, R: Read>(
    file: R,
    identities: impl Iterator<Item = &'a dyn age::Identity>,
) -> Result<Opened<R>, OpenError> {
    let mut input = Input::new(file)?;
    let header = read_header(&mut input)?;
    let decryptor = age::Decryptor::new_buffered(io::Cursor::new(header).chain(input)).map_err(opening)?;
    let stream = decryptor.decrypt(identities).map_err(opening)?;
    Ok(Opened(stream))
}

fn opening(error: age::DecryptError) -> OpenError {
    match error {
        age::DecryptError::NoMatchingKeys | age::DecryptError::DecryptionFailed => OpenError::WrongKey,
        age::DecryptError::Io(error)
            if error.kind() != io::ErrorKind::InvalidData && error.kind() != io::ErrorKind::UnexpectedEof =>
        {
            OpenError::Read(error)
        }
        other => OpenError::Header(other.to_string()),
    }
}

/// The content of a sealed file, chunk after chunk as it verifies. Every way in which age reports a changed payload is one
/// error kind here.
pub struct Opened<R: Read>(age::stream::StreamReader<io::Chain<io::Cursor<Vec<u8>>, Input<R>>>);

impl<R: Read> std::fmt::Debug for Opened<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opened")
    }
}

impl<R: Read> Read for Opened<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::Other => io::Error::new(io::ErrorKind::InvalidData, error),
            _ => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use age::secrecy::ExposeSecret;

    fn identity() -> (Identities, String) {
        let identity = age::x25519::Identity::generate();
        let text = format!("# a comment\n{}\n", identity.to_string().expose_secret());
        (Identities::parse(&text).expect("an identity"), identity.to_public().to_string())
    }

    fn sealed(content: &[u8], recipients: &[String]) -> (Vec<u8>, SealedFile) {
        let mut writer = seal(recipients, Vec::new()).expect("recipients");
        writer.write_all(content).expect("written");
        writer.finish().expect("sealed")
    }

    fn opened(file: &[u8], identities: &Identities) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        open(file, identities).map_err(|error| io::Error::other(error.to_string()))?.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn what_was_sealed_opens_and_is_measured() {
        let (identities, recipient) = identity();
        let content = vec![7; 200_000];
        let (file, measures) = sealed(&content, &[recipient]);
        assert_eq!(opened(&file, &identities).expect("opens"), content);
        assert_eq!(measures.sha256, Digest::of(&file));
        assert_eq!(measures.bytes, file.len() as u64);
        let header = usize::try_from(measures.header_bytes).expect("small");
        assert!(file[..header].ends_with(b"\n") && file.starts_with(b"age-encryption.org/v1\n"));
        assert_eq!(
            file.len() - header,
            16 + content.len() + 16 * content.len().div_ceil(65536),
            "nonce and chunks follow"
        );
    }

    #[test]
    fn another_key_opens_nothing() {
        let (_, recipient) = identity();
        let (other, _) = identity();
        let (file, _) = sealed(b"content", &[recipient]);
        assert!(matches!(open(&file[..], &other).err(), Some(OpenError::WrongKey)));
    }

    #[test]
    fn any_changed_or_missing_byte_is_noticed() {
        let (identities, recipient) = identity();
        let (file, _) = sealed(b"some content", &[recipient]);
        for position in 0..file.len() {
            let mut changed = file.clone();
            changed[position] ^= 1;
            assert!(opened(&changed, &identities).is_err(), "byte {position} changed and nobody noticed");
            assert!(opened(&file[..position], &identities).is_err(), "cut at {position} and nobody noticed");
        }
    }

    #[test]
    fn as_many_recipients_as_are_allowed_open_and_one_more_is_refused() {
        let (identities, recipient) = identity();
        let (_, other) = identity();
        let mut recipients = vec![other; RECIPIENTS_MAX];
        recipients[RECIPIENTS_MAX - 1] = recipient.clone();
        let (file, _) = sealed(b"content", &recipients);
        assert_eq!(opened(&file, &identities).expect("opens"), b"content");
        recipients.push(recipient);
        assert!(matches!(seal(&recipients, Vec::new()), Err(SealError::TooMany { found: 101 })));
    }

    #[test]
    fn a_header_or_a_line_of_armour_that_never_ends_is_refused_soon() {
        let (identities, _) = identity();
        let begin = b"-----BEGIN AGE ENCRYPTED FILE-----\n";
        for (start, filling) in [
            (&b"age-encryption.org/v1\n-> "[..], &b"x"[..]),
            (b"age-encryption.org/v1\n", b"-> x\n\n"),
            (b"", b"x"),
            (b"", b" \n"),
            (begin, b"x"),
            (begin, b"YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHgKCi0+IHgKCi0+IHgKCi0+IHgKCi0+\n"),
        ] {
            let mut endless = start.chain(Endless { filling, given: 0 });
            let error = open(&mut endless, &identities).expect_err("refused");
            assert!(matches!(error, OpenError::Header(_)), "{error}");
            let (_, endless) = endless.into_inner();
            assert!(endless.given < 100_000, "{} bytes were read", endless.given);
        }
    }

    struct Endless {
        filling: &'static [u8],
        given: usize,
    }

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let at = self.given % self.filling.len();
            let count = buffer.len().min(self.filling.len() - at);
            buffer[..count].copy_from_slice(&self.filling[at..at + count]);
            self.given += count;
            Ok(count)
        }
    }

    #[test]
    fn a_bad_identity_is_not_repeated_in_the_error() {
        let error = Identities::parse("AGE-SECRET-KEY-1NOTAKEY").expect_err("refused").to_string();
        assert!(!error.contains("NOTAKEY"), "{error}");
    }
}
