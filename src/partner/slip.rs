//! The likely slips of a person who writes a card by hand: named one by one, each with what mends it.
//!
//! Rule: nothing is mended here. The signed bytes are the card, so whoever signed them writes them anew.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::parts::{Certificate, Recipient};
use crate::clock::{Timestamp, read_stamp, stamp};
use crate::signature::VerifyingKey;

/// What is wrong with a card's line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Slip {
    /// The JSON stands on several lines.
    #[error("the card's JSON stands on several lines; it must be one line")]
    Lines,
    /// The fields are right, but there are spaces between them.
    #[error("there are spaces between the fields of the card; none are allowed outside texts")]
    Spaces,
    /// A field stands behind one that comes later in the alphabet.
    #[error("the field `{late}` of the card stands behind `{early}`; fields are sorted by their names")]
    Order {
        /// The field that stands too late.
        late: String,
        /// The one before it.
        early: String,
    },
    /// A time in another form.
    #[error("`{field}` on the card is not a time in the one form that is allowed: {allowed}")]
    Time {
        /// Which field.
        field: &'static str,
        /// The form, or the very time in that form.
        allowed: String,
    },
    /// A value that is none of its kind.
    #[error("a value of `{field}` on the card is not {allowed}")]
    Part {
        /// Which field.
        field: &'static str,
        /// What belongs there.
        allowed: &'static str,
    },
    /// A word that says no way of exchange.
    #[error("`exchange` on the card is neither `https-put` nor `pull`; a partner with medseal leaves it out")]
    Exchange,
    /// A field that no card has.
    #[error("no card has a field `{field}`")]
    Unknown {
        /// Its name.
        field: String,
    },
    /// What was signed ends with a newline; the card's line does not.
    #[error("the signature covers the card's line together with the newline behind it")]
    NewlineSigned,
}

impl Slip {
    /// What mends it.
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::Lines | Self::Spaces | Self::Order { .. } => {
                "bring it into form, then sign it anew: python3 -c 'import json,sys; sys.stdout.write(json.dumps(\
                 json.load(sys.stdin), sort_keys=True, separators=(\",\", \":\"), ensure_ascii=False))' \
                 < written.json > card.json (docs/PARTNERS.md)"
            }
            Self::Time { .. } => "date -u +%Y-%m-%dT%H:%M:%S.000000Z writes a time in this form",
            Self::Part { .. } => {
                "age: what age-keygen -y prints; signing: the first two words of sign.key.pub; tls: what \
                 `openssl x509 -in tls.crt -outform DER | openssl base64 -A` prints (docs/PARTNERS.md)"
            }
            Self::Exchange | Self::Unknown { .. } => "docs/PARTNERS.md shows a whole card",
            Self::NewlineSigned => {
                "write the line into its file without a newline (printf '%s'), sign that file anew with \
                 ssh-keygen -Y sign -n medseal-card@v1, and put the newline between the two in the card file"
            }
        }
    }
}

/// What a person probably did, where a text before the signature is not read as a card; `None` when nobody can say.
pub(super) fn of_text(before_signature: &str) -> Option<Slip> {
    let text = before_signature.trim_end_matches(['\r', '\n']);
    let Keys(disorder) = serde_json::from_str(text).ok()?;
    let tree: Value = serde_json::from_str(text).ok()?;
    if text.contains('\n') {
        return Some(Slip::Lines);
    }
    if let Some((early, late)) = disorder.filter(|(early, late)| early != late) {
        return Some(Slip::Order { late, early });
    }
    if crate::json::to_line(&tree).is_ok_and(|strict| strict != text && strict.len() < text.len()) {
        return Some(Slip::Spaces);
    }
    of_fields(&tree)
}

fn of_fields(tree: &Value) -> Option<Slip> {
    let fields = tree.as_object()?;
    if let Some(field) = fields.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Some(Slip::Unknown { field: shown(field) });
    }
    if fields.get("exchange").is_some_and(|word| !matches!(word.as_str(), Some("https-put" | "pull"))) {
        return Some(Slip::Exchange);
    }
    let top = ["expires", "issued"].into_iter().filter_map(|name| Some((name, fields.get(name)?)));
    let entries =
        ["age", "log", "signing", "tls", "witness"].into_iter().filter_map(|name| fields.get(name)?.as_array());
    let dates = entries
        .flatten()
        .flat_map(|entry| ["not_after", "not_before"].into_iter().filter_map(|name| Some((name, entry.get(name)?))));
    if let Some((field, text)) = top.chain(dates).find(|(_, value)| value.as_str().and_then(read_stamp).is_none()) {
        let same = text.as_str().and_then(|text| text.parse::<Timestamp>().ok());
        let allowed = same.map_or_else(|| "2026-11-22T10:15:30.000000Z".to_owned(), stamp);
        return Some(Slip::Time { field, allowed });
    }
    let values = |name: &str| -> Vec<&str> {
        let entries = fields.get(name).and_then(Value::as_array).into_iter().flatten();
        entries.filter_map(|entry| entry.get("value")?.as_str()).collect()
    };
    if values("age").iter().any(|text| text.parse::<Recipient>().is_err()) {
        return Some(Slip::Part { field: "age", allowed: "an age X25519 recipient such as age1..." });
    }
    if values("signing").iter().any(|text| text.parse::<VerifyingKey>().is_err()) {
        return Some(Slip::Part {
            field: "signing",
            allowed: "an Ed25519 key `ssh-ed25519 AAAA...` without a comment",
        });
    }
    if values("tls").iter().any(|text| text.parse::<Certificate>().is_err()) {
        return Some(Slip::Part { field: "tls", allowed: "an X.509 certificate as base64 of DER on one line" });
    }
    None
}

/// Every field of a card.
const FIELDS: [&str; 14] = [
    "age", "country", "endpoint", "exchange", "expires", "format", "id", "issued", "log", "name", "serial", "signing",
    "tls", "witness",
];

/// Somebody else's word, as far as it may be repeated.
fn shown(name: &str) -> String {
    name.chars().filter(char::is_ascii_graphic).take(32).collect()
}

/// The first two keys of one object, at whatever depth, of which the second belongs before the first.
struct Keys(Option<(String, String)>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Keys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
        let (mut found, mut before) = (None, None::<String>);
        while let Some(key) = map.next_key::<String>()? {
            if let Some(early) = before.filter(|early| *early > key) {
                found = found.or_else(|| Some((shown(&early), shown(&key))));
            }
            let Keys(inside) = map.next_value()?;
            found = found.or(inside);
            before = Some(key);
        }
        Ok(Keys(found))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Keys, A::Error> {
        let mut found = None;
        while let Some(Keys(inside)) = items.next_element()? {
            found = found.or(inside);
        }
        Ok(Keys(found))
    }

    fn visit_str<E>(self, _text: &str) -> Result<Keys, E> {
        Ok(Keys(None))
    }

    fn visit_bool<E>(self, _truth: bool) -> Result<Keys, E> {
        Ok(Keys(None))
    }

    fn visit_i64<E>(self, _number: i64) -> Result<Keys, E> {
        Ok(Keys(None))
    }

    fn visit_u64<E>(self, _number: u64) -> Result<Keys, E> {
        Ok(Keys(None))
    }

    fn visit_f64<E>(self, _number: f64) -> Result<Keys, E> {
        Ok(Keys(None))
    }

    fn visit_unit<E>(self) -> Result<Keys, E> {
        Ok(Keys(None))
    }
}
