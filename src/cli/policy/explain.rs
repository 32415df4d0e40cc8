//! `medseal policy explain`: one page that says why a bundle may leave or why not, and what would change that.
//!
//! Rule: plain text of at most 100 columns, with nothing that only a colour tells.

use clap::Args;
use serde_json::Value;

use crate::cli::Context;
use crate::cli::answer::{list, moment, text};
use crate::cli::failure::{Failure, Outcome, Status};
use crate::cli::output::Output;
use crate::id::BundleId;

/// Says why a bundle may leave or why not: every document, every gate, and what would change it. Nothing is sent.
#[derive(Args, Debug)]
#[command(after_help = "Example: medseal policy explain bundle-0123456789abcdef\n\
    Of a bundle that was delivered the decision that let it go is shown; of every other the decision as it would be\n\
    taken now. What would change a no was tried on the decision before it is shown.")]
pub(in crate::cli) struct Explain {
    /// The bundle.
    bundle: BundleId,
    /// List every document, however many there are.
    #[arg(long)]
    all: bool,
}

impl Explain {
    pub(super) fn run(self, context: &Context) -> Outcome {
        let answer = context.api()?.get(&format!("/v1/bundles/{}/explain", self.bundle))?;
        if context.out.is_json() {
            context.out.object(&answer)?;
        } else {
            let shown = if self.all { usize::MAX } else { KINDS_SHOWN };
            page(context.out, &answer, shown)?;
        }
        Ok(Status::Done)
    }
}

fn page(out: Output, answer: &Value, kinds_shown: usize) -> Result<(), Failure> {
    let yes = text(answer, "decision") == "permit";
    out.line(format!("{}  {}", if yes { "YES" } else { "NO " }, wrapped(&text(answer, "verdict"), 5, WIDTH)))?;
    out.line("")?;
    let when = match text(answer, "of").as_str() {
        "delivery" => "decided when it was delivered",
        _ => "decided as everything stands now",
    };
    let documents = list(answer, "documents");
    fact(out, "bundle", &format!("{}, {}", text(answer, "bundle"), text(answer, "state")))?;
    fact(
        out,
        "carries",
        &format!("{} of {}, {}", text(answer, "kind"), text(answer, "case"), counted(documents.len())),
    )?;
    fact(out, "to", &text(answer, "partner"))?;
    fact(out, "decided", &format!("{} ({when})", moment(answer, "decided")))?;
    if !yes {
        why(out, answer)?;
        changes(out, answer)?;
    }
    consent(out, answer)?;
    policy(out, answer, yes)?;
    gates(out, documents, kinds_shown)?;
    let obligations = list(answer, "obligations");
    if !obligations.is_empty() {
        head(out, "What travels with it")?;
        for one in obligations {
            let says = text(one, "says");
            let says = if says.is_empty() { "a code that the receiver must observe".to_owned() } else { says };
            out.line(format!("  {:<14}{}", text(one, "code"), wrapped(&says, 16, WIDTH)))?;
        }
    }
    Ok(())
}

/// Each objection once, with the documents that it is about; what is about the release as a whole comes last.
fn why(out: Output, answer: &Value) -> Result<(), Failure> {
    head(out, "Why not")?;
    let documents = list(answer, "documents");
    let mut objected: Vec<(String, Vec<String>)> = Vec::new();
    for document in documents {
        for says in objections(document) {
            match objected.iter_mut().find(|(known, _)| *known == says) {
                Some((_, paths)) => paths.push(text(document, "path")),
                None => objected.push((says, vec![text(document, "path")])),
            }
        }
    }
    let rules = list(answer, "rules");
    if objected.is_empty() && rules.is_empty() {
        for says in list(answer, "says").iter().filter_map(Value::as_str).take(CAUSES_SHOWN) {
            out.line(format!("  - {}", wrapped(says, 4, WIDTH)))?;
        }
    }
    for (says, paths) in objected.iter().take(CAUSES_SHOWN) {
        out.line(format!("  - {}", wrapped(says, 4, WIDTH)))?;
        if paths.len() < documents.len() {
            names(out, paths.iter().map(String::as_str), 4)?;
        } else if paths.len() > 1 {
            out.line(format!("    (all {} documents)", paths.len()))?;
        }
    }
    if objected.len() > CAUSES_SHOWN {
        out.line(format!("  - and {} more; --json has them all", objected.len() - CAUSES_SHOWN))?;
    }
    for rule in rules {
        let says = format!("the policy: {} [{}] (rule {})", text(rule, "says"), text(rule, "reason"), text(rule, "id"));
        out.line(format!("  - {}", wrapped(&says, 4, WIDTH)))?;
    }
    Ok(())
}

/// Paths one a line, the first few of them.
fn names<'a>(out: Output, paths: impl ExactSizeIterator<Item = &'a str>, indent: usize) -> Result<(), Failure> {
    let (count, pad) = (paths.len(), " ".repeat(indent));
    let shown = if count > NAMES_SHOWN + 1 { NAMES_SHOWN } else { count };
    for path in paths.take(shown) {
        out.line(format!("{pad}{}", cut(path, WIDTH - indent)))?;
    }
    if count > shown {
        out.line(format!("{pad}and {} more", count - shown))?;
    }
    Ok(())
}

fn changes(out: Output, answer: &Value) -> Result<(), Failure> {
    let ways = list(answer, "changes");
    if ways.is_empty() {
        let remedies = list(answer, "remedies");
        if remedies.is_empty() {
            return Ok(());
        }
        head(out, "What to do (medseal found no few steps that lead to a yes)")?;
        for remedy in remedies.iter().filter_map(Value::as_str) {
            out.line(format!("  - {}", wrapped(remedy, 4, WIDTH)))?;
        }
        return Ok(());
    }
    let several = "What would change it (any one of these; each was tried on the decision)";
    head(out, if ways.len() == 1 { "What would change it (tried on the decision)" } else { several })?;
    for (number, way) in ways.iter().enumerate() {
        let steps = list(way, "steps");
        for (at, step) in steps.iter().enumerate() {
            let (lead, says) = match at {
                0 => (format!("  {}. ", number + 1), capital(&text(step, "says"))),
                _ => ("     ".to_owned(), format!("and {}", text(step, "says"))),
            };
            out.line(format!("{lead}{}", wrapped(&says, 5, WIDTH)))?;
            names(out, list(step, "documents").iter().map(|path| path.as_str().unwrap_or_default()), 7)?;
            let command = text(step, "command");
            if !command.is_empty() {
                out.line(format!("       run: {}", wrapped(&command, 12, WIDTH)))?;
            }
        }
        out.line(format!("     Then {}.", wrapped(&text(way, "then"), 5, WIDTH)))?;
    }
    Ok(())
}

fn consent(out: Output, answer: &Value) -> Result<(), Failure> {
    let consent = text(answer, "consent");
    if consent.is_empty() {
        return Ok(());
    }
    head(out, "The patient's consent")?;
    out.line(format!("  {consent}"))?;
    if let Some(says) = answer.get("consent_says").filter(|says| !says.is_null()) {
        for line in list(says, "says").iter().filter_map(Value::as_str) {
            out.line(format!("  {}", wrapped(line, 2, WIDTH)))?;
        }
        let until = moment(says, "until");
        if !until.is_empty() {
            out.line(format!("  It permits until {until}."))?;
        }
    }
    Ok(())
}

/// The rules that let it pass; those that stop it stand under the reasons.
fn policy(out: Output, answer: &Value, yes: bool) -> Result<(), Failure> {
    let rules = list(answer, "rules");
    if rules.is_empty() || !yes {
        return Ok(());
    }
    head(out, "The institution's policy")?;
    for rule in rules {
        out.line(format!("  {}", wrapped(&format!("{} (rule {})", text(rule, "says"), text(rule, "id")), 2, WIDTH)))?;
    }
    Ok(())
}

/// Each document with what both gates say, those that stop first; documents that are alike stand together.
fn gates(out: Output, documents: &[Value], shown: usize) -> Result<(), Failure> {
    if documents.is_empty() {
        return Ok(());
    }
    head(out, "The documents, and what consent and policy say of each")?;
    let mut alike: Vec<(&Value, Vec<&str>)> = Vec::new();
    for wanted in [false, true] {
        for document in documents.iter().filter(|document| passes(document) == wanted) {
            let path = document.get("path").and_then(Value::as_str).unwrap_or_default();
            match alike.iter_mut().find(|(known, _)| row(known) == row(document)) {
                Some((_, paths)) => paths.push(path),
                None => alike.push((document, vec![path])),
            }
        }
    }
    for (document, paths) in alike.iter().take(shown) {
        let mark = if passes(document) { "yes" } else { "NO" };
        out.line(format!("  {mark:<5}{}", wrapped(&row(document), 7, WIDTH)))?;
        if shown == usize::MAX {
            for path in paths {
                out.line(format!("       {}", cut(path, WIDTH - 7)))?;
            }
        } else {
            names(out, paths.iter().copied(), 7)?;
        }
    }
    if alike.len() > shown {
        out.line(format!("  and {} kinds of documents more; --all lists them", alike.len() - shown))?;
    }
    Ok(())
}

/// What the gates see of a document, and the codes of a no.
fn row(document: &Value) -> String {
    match &objected_by(document)[..] {
        [] => described(document),
        codes => format!("{}: {}", described(document), codes.join(", ")),
    }
}

/// Which gate says no, with its code.
fn objected_by(document: &Value) -> Vec<String> {
    let consent = document.get("consent").filter(|gate| gate.get("permits") == Some(&Value::Bool(false)));
    let rules = document.get("policy").map_or(&[][..], |gate| list(gate, "rules"));
    let consent = consent.map(|gate| format!("consent {}", text(gate, "reason")));
    consent.into_iter().chain(rules.iter().map(|rule| format!("policy {}", text(rule, "reason")))).collect()
}

fn passes(document: &Value) -> bool {
    let permits = |gate: &str| {
        document
            .get(gate)
            .filter(|gate| !gate.is_null())
            .is_none_or(|gate| gate.get("permits") == Some(&Value::Bool(true)))
    };
    permits("consent") && permits("policy")
}

/// What the gates see of a document, in a row.
fn described(document: &Value) -> String {
    let class = text(document, "class");
    let mut parts = vec![
        text(document, "media_type"),
        if class.is_empty() { "no class stated".to_owned() } else { format!("class {class}") },
    ];
    if let Some(label) = document.get("confidentiality") {
        let assumed = if label.get("assumed") == Some(&Value::Bool(true)) { " (assumed)" } else { "" };
        parts.push(format!("confidentiality {}{assumed}", text(label, "code")));
    }
    let sensitivity: Vec<&str> = list(document, "sensitivity").iter().filter_map(Value::as_str).collect();
    if !sensitivity.is_empty() {
        parts.push(format!("sensitivity {}", sensitivity.join(" ")));
    }
    let date = text(document, "date");
    parts.push(if date.is_empty() { "no date".to_owned() } else { date });
    parts.join(", ")
}

fn objections(document: &Value) -> Vec<String> {
    let mut objections = Vec::new();
    if let Some(gate) = document.get("consent").filter(|gate| gate.get("permits") == Some(&Value::Bool(false))) {
        objections.push(format!("the consent: {} [{}]", text(gate, "says"), text(gate, "reason")));
    }
    for rule in document.get("policy").map_or(&[][..], |gate| list(gate, "rules")) {
        objections.push(format!(
            "the policy: {} [{}] (rule {})",
            text(rule, "says"),
            text(rule, "reason"),
            text(rule, "id")
        ));
    }
    objections
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn head(out: Output, text: &str) -> Result<(), Failure> {
    out.line("")?;
    out.line(text)
}

fn fact(out: Output, name: &str, value: &str) -> Result<(), Failure> {
    out.line(format!("     {name:<9}{}", wrapped(value, 14, WIDTH)))
}

fn counted(documents: usize) -> String {
    match documents {
        0 => "no document on file".to_owned(),
        1 => "1 document".to_owned(),
        more => format!("{more} documents"),
    }
}

/// The text broken into lines of at most `width` columns, of which the first has `indent` taken already and every
/// other is indented by so many.
fn wrapped(text: &str, indent: usize, width: usize) -> String {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

/// A path that is longer than the line keeps its end, which tells files apart.
fn cut(path: &str, width: usize) -> String {
    let count = path.chars().count();
    if count <= width {
        path.to_owned()
    } else {
        format!("...{}", path.chars().skip(count - width + 3).collect::<String>())
    }
}

const WIDTH: usize = 100;
/// So many kinds of documents are listed unless all are asked for.
const KINDS_SHOWN: usize = 20;
/// So many causes.
const CAUSES_SHOWN: usize = 8;
/// So many documents that are alike are named.
const NAMES_SHOWN: usize = 5;
