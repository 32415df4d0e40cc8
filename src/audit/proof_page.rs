//! The proof of one entry as a page for a person: what is proved in plain words first, the technical names behind.
//!
//! Rule: it says no more than was verified, it escapes every word, and it runs no script and loads nothing.

use std::fmt::Write as _;

use serde_json::Value;

use crate::audit::note::LogKey;
use crate::audit::tlog_proof::{EntryProof, Proved};
use crate::bundle::cover::{HEAD, STYLE, escape};
use crate::clock::Timestamp;
use crate::json::{self, JsonError, Object};
use crate::leaf::{self, LEAF_BYTES_MAX};

/// The page of an entry whose proof was verified: `proved` is what [`EntryProof::verify`] answered by this key.
pub fn page(line: &[u8], proof: &EntryProof, proved: &Proved, key: &LogKey) -> Result<String, JsonError> {
    let entry: Object = json::from_line(line, LEAF_BYTES_MAX)?;
    let (size, number) = (proved.checkpoint.size, proof.index);
    let origin = escape(proved.checkpoint.origin.as_str());
    let mut page = format!("{HEAD}<title>Entry {number} of {origin}</title>\n{STYLE}{WRAP}</head>\n<body>\n<main>\n");
    let mut add = |text: &str| page.push_str(text);
    add(&format!("<h1>What the log of {origin} says</h1>\n<dl>\n"));
    add(&row(
        "Statement",
        &format!("entry number {number}, &ldquo;{}&rdquo;, as it stands below", fact(&entry, "kind")),
    ));
    add(&row("Since", &format!("{} by the gateway's own clock", fact(&entry, "_t"))));
    add(&row("Signed by", &format!("the log {origin}, over its first {size} entries")));
    add(&row("Countersigned by", &countersigned(proved)));
    add("</dl>\n<h2>The entry</h2>\n<table>\n");
    for (name, value) in entry.iter().filter(|(name, _)| !name.starts_with('_') && name.as_str() != "kind") {
        add(&format!("<tr><td>{}</td><td>{}</td></tr>\n", escape(name), escape(&words(value))));
    }
    add("</table>\n<h2>What this shows</h2>\n");
    add("<p>The log that was signed has this entry, word for word, at this place. Whoever signed it cannot deny the ");
    add("entry, change it or take it out without a contradiction that anyone can show with this proof.</p>\n");
    add("<p>It does not show that what the entry says is true, and the time of the entry is the gateway's own word. ");
    add(
        "A countersignature shows that another institution saw the log, with this entry in it, no later than it says.</p>\n",
    );
    add("<h2>How to check it</h2>\n<p>The proof and the entry are files beside this page. With the log's key, as the ");
    add("institution gave it to you by another way:</p>\n");
    add("<pre>medseal audit verify FILE.tlog-proof --entry FILE.entry --key KEY</pre>\n");
    add("<h2>Technical names</h2>\n<dl>\n");
    add(&row("Form", "C2SP tlog-proof v1; inclusion proof of RFC 9162, section 2.1.3, SHA-256"));
    add(&row("Hash of the entry", &leaf::hash(line).to_string()));
    add(&row("Root of the log", &proved.checkpoint.root.to_string()));
    add(&row("Key of the log", &escape(&key.to_string())));
    add(&row("Its fingerprint", &key.fingerprint().to_string()));
    add(&format!("</dl>\n<pre>{}</pre>\n", escape(&proof.to_text())));
    add("</main>\n</body>\n</html>\n");
    Ok(page)
}

fn countersigned(proved: &Proved) -> String {
    if proved.countersigned.is_empty() {
        return "nobody whose key was given when this page was made".into();
    }
    let mut list = String::new();
    for cosignature in &proved.countersigned {
        let seconds = i64::try_from(cosignature.time).ok().and_then(|time| Timestamp::from_second(time).ok());
        let time = seconds.map_or_else(|| "an unreadable time".into(), |time| time.to_string());
        let separator = if list.is_empty() { "" } else { "<br>" };
        write!(list, "{separator}{}, on {time} by its clock", escape(cosignature.key.name().as_str()))
            .expect("a string takes everything");
    }
    list
}

/// Long words of an entry stay on the page, on screen and on paper.
const WRAP: &str = "<style>
table { table-layout: fixed; width: 100%; } td { overflow-wrap: anywhere; } td:first-child { width: 11rem; }
dd, pre { overflow-wrap: anywhere; white-space: pre-wrap; }
@media print { body { font-size: 9.5pt; } main { padding: 0; } tr { break-inside: avoid; } }
</style>
";

fn row(name: &str, html: &str) -> String {
    format!("<dt>{name}</dt><dd>{html}</dd>\n")
}

fn fact(entry: &Object, name: &str) -> String {
    escape(&entry.get(name).map(words).unwrap_or_default())
}

fn words(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::note::Checkpoint;
    use crate::signature::NoteSigner;

    #[test]
    fn the_page_says_what_was_proved_and_lets_no_word_out_of_its_place() {
        let line = br#"{"_prev":"00","_seq":0,"_t":"2026-11-22T10:00:00.000000Z","kind":"note","text":"<script>alert('1')</script>"}"#;
        let signer = NoteSigner::from_seed(&[7; 32]);
        let key = LogKey::new("st-mary.example/audit".parse().unwrap(), signer.public());
        let checkpoint = Checkpoint { origin: key.name().clone(), size: 1, root: leaf::hash(line) };
        let proof = EntryProof { index: 0, path: vec![], note: checkpoint.sign(&signer) };
        let proved = proof.verify(line, std::slice::from_ref(&key), &[]).unwrap();
        let page = page(line, &proof, &proved, &key).unwrap();
        assert!(page.contains("Content-Security-Policy") && !page.contains("<script"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"));
        for part in ["Statement", "Since", "Countersigned by", "nobody whose key was given", "2026-11-22T10:00:00"] {
            assert!(page.contains(part), "{part}");
        }
        assert!(page.contains(&leaf::hash(line).to_string()) && page.contains(&escape(&key.to_string())));
    }
}
