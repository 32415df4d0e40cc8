//! Does every vector of the C2SP/CCTV age test kit give its stated result through our own opening path?

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use medseal::id::Digest;
use medseal::reason::Reason;
use medseal::seal::{self, Identities, OpenError};

use crate::needs;

#[test]
fn every_vector_of_the_age_test_kit_gives_its_stated_result() {
    let Some(folder) = needs::data("age-testkit/testdata") else { return };
    let mut outcomes = BTreeMap::<&'static str, u32>::new();
    let (mut wrong, mut left_out, mut count) = (Vec::new(), BTreeSet::new(), 0);
    for entry in folder.read_dir().expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("text");
        let vector = Vector::parse(&std::fs::read(entry.path()).expect("a vector"));
        count += 1;
        if vector.identities.iter().any(|identity| identity.starts_with(HYBRID_IDENTITY)) {
            left_out.insert(name.clone());
            if !refuses_the_identity(&vector) {
                wrong.push(format!("{name}: its identity is read now; take it off the list"));
            }
            continue;
        }
        let (outcome, plaintext) = open(&vector);
        let payload = vector.payload.is_none_or(|payload| payload == Digest::of(&plaintext));
        let released = vector.payload.is_some() || plaintext.is_empty();
        if !vector.expects(outcome) || !payload || !released {
            wrong.push(format!("{name}: {outcome:?}, {} bytes, but {}", plaintext.len(), vector.expect));
        }
        *outcomes.entry(outcome).or_default() += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(left_out, HYBRID.map(str::to_owned).into(), "the vectors that cannot be tried yet");
    assert_eq!(count, 143);
    assert_eq!(outcomes, OUTCOMES.into());
}

/// One vector: its expectations, and the file.
struct Vector {
    expect: String,
    payload: Option<Digest>,
    identities: Vec<String>,
    passphrases: Vec<String>,
    file: Vec<u8>,
}

impl Vector {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(2).position(|window| window == b"\n\n").expect("an empty line ends the head");
        let head = std::str::from_utf8(&bytes[..end]).expect("text");
        let mut file = bytes[end + 2..].to_vec();
        let mut vector = Self {
            expect: String::new(),
            payload: None,
            identities: Vec::new(),
            passphrases: Vec::new(),
            file: Vec::new(),
        };
        for line in head.lines() {
            let (key, value) = line.split_once(": ").expect("key and value");
            match key {
                "expect" => value.clone_into(&mut vector.expect),
                "payload" => vector.payload = Some(value.parse().expect("a digest")),
                "identity" => vector.identities.push(value.to_owned()),
                "passphrase" => vector.passphrases.push(value.to_owned()),
                "compressed" => {
                    assert_eq!(value, "zlib");
                    let mut plain = Vec::new();
                    flate2::read::ZlibDecoder::new(&file[..]).read_to_end(&mut plain).expect("zlib");
                    file = plain;
                }
                "file key" | "armored" | "comment" => {}
                other => panic!("{other} is not known"),
            }
        }
        vector.file = file;
        vector
    }

    /// A damaged header, MAC or armour are one thing to who must open the file: it was changed.
    fn expects(&self, outcome: &str) -> bool {
        match self.expect.as_str() {
            "success" => outcome == "opened",
            "no match" => outcome == "wrong key",
            "header failure" | "HMAC failure" => outcome == "header",
            // Armour is decoded while it is read: damage near its end shows in the payload.
            "armor failure" => outcome == "header" || outcome == "payload",
            "payload failure" => outcome == "payload",
            other => panic!("{other} is not known"),
        }
    }
}

/// What came of it, and what was released before.
fn open(vector: &Vector) -> (&'static str, Vec<u8>) {
    let file = vector.file.as_slice();
    let opened: Result<Box<dyn Read>, OpenError> = if vector.passphrases.is_empty() {
        // Two vectors name no identity: any will do.
        let some = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";
        let text = if vector.identities.is_empty() { some.to_owned() } else { vector.identities.join("\n") };
        let identities = Identities::parse(&text).expect("identities");
        seal::open(file, &identities).map(|reader| Box::new(reader) as Box<dyn Read>)
    } else {
        let mut identities: Vec<Box<dyn age::Identity>> = Vec::new();
        for passphrase in &vector.passphrases {
            let mut identity = age::scrypt::Identity::new(passphrase.as_str().into());
            identity.set_max_work_factor(16);
            identities.push(Box::new(identity));
        }
        for identity in &vector.identities {
            identities.push(Box::new(identity.parse::<age::x25519::Identity>().expect("an identity")));
        }
        seal::open_with(file, identities.iter().map(AsRef::as_ref)).map(|reader| Box::new(reader) as Box<dyn Read>)
    };
    let mut plaintext = Vec::new();
    let outcome = match opened {
        Err(OpenError::WrongKey) => "wrong key",
        Err(error) => {
            assert_eq!(error.reason(), Reason::Tampered, "{error}");
            "header"
        }
        Ok(mut reader) => match reader.read_to_end(&mut plaintext) {
            Ok(_) => "opened",
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
                "payload"
            }
        },
    };
    (outcome, plaintext)
}

fn refuses_the_identity(vector: &Vector) -> bool {
    vector.identities.iter().any(|text| matches!(Identities::parse(text), Err(OpenError::Identity(_))))
}

const HYBRID_IDENTITY: &str = "AGE-SECRET-KEY-PQ-1";

const OUTCOMES: [(&str, u32); 4] = [("header", 66), ("opened", 21), ("payload", 29), ("wrong key", 8)];

/// Their identity is of the kind mlkem768x25519, which age 0.12 does not have. Each must move up as soon as it does.
const HYBRID: [&str; 19] = [
    "armor_hybrid",
    "hybrid",
    "hybrid_and_x25519",
    "hybrid_bad_tag",
    "hybrid_currupted_enc_mlkem",
    "hybrid_currupted_enc_x25519",
    "hybrid_extra_argument",
    "hybrid_grease",
    "hybrid_identity",
    "hybrid_long_file_key",
    "hybrid_long_share",
    "hybrid_low_order",
    "hybrid_multiple_recipients",
    "hybrid_no_match",
    "hybrid_not_canonical_body",
    "hybrid_not_canonical_enc",
    "hybrid_short_share",
    "hybrid_uppercase",
    "hybrid_x25519_arg",
];
