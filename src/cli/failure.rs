//! Why a verb did not do what it was asked, and with which status the program ends.
//!
//! Rule: whoever makes a [`Failure`] knows whether the answer is no, whether it could not be done, or whether it may
//! work later; the exit status says exactly that.

use serde_json::{Map, Value, json};

use crate::client::{ApiError, ProblemItem};
use crate::reason::Reason;

/// How the program ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Status {
    /// Done.
    Done = 0,
    /// The answer is no: denied, tampered, no match.
    Refused = 1,
    /// It could not be done: usage, bad input, broken set-up.
    Unable = 2,
    /// Nothing is wrong, but nothing that the asker chose vouches for what was verified.
    NotVouched = 3,
    /// It may work later: partner or gateway away.
    TryAgain = 75,
}

/// What a verb ends with.
pub(crate) type Outcome = Result<Status, Failure>;

/// Why a verb did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure(Box<Said>);

/// Boxed, because almost every function here may fail, and hardly one does.
#[derive(Debug)]
struct Said {
    status: Status,
    code: Option<String>,
    text: String,
    hint: Option<String>,
    items: Vec<ProblemItem>,
    facts: Map<String, Value>,
    silent: bool,
}

impl Failure {
    /// The answer is no.
    pub(crate) fn refused(reason: Reason, text: impl Into<String>) -> Self {
        Self::new(Status::Refused, text).code(reason)
    }

    /// The input is not one that can be worked on.
    pub(crate) fn bad_input(reason: Reason, text: impl Into<String>) -> Self {
        Self::new(Status::Unable, text).code(reason)
    }

    /// It could not be done.
    pub(crate) fn unable(text: impl Into<String>) -> Self {
        Self::new(Status::Unable, text)
    }

    /// It may work later.
    pub(crate) fn try_again(text: impl Into<String>) -> Self {
        Self::new(Status::TryAgain, text)
    }

    /// Nobody reads what would be printed: no failure of ours.
    pub(crate) fn reader_gone() -> Self {
        let mut failure = Self::new(Status::Done, String::new());
        failure.0.silent = true;
        failure
    }

    /// Says what mends it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Lists the documents or rules that it is about.
    pub(crate) fn items(mut self, items: Vec<ProblemItem>) -> Self {
        self.0.items = items;
        self
    }

    /// Adds a field to what `--json` prints.
    pub(crate) fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.facts.insert(name.to_owned(), value.into());
        self
    }

    /// Whether `--json` prints a field of this name.
    pub(crate) fn has_fact(&self, name: &str) -> bool {
        self.0.facts.contains_key(name)
    }

    /// The status that the program ends with.
    pub(crate) fn status(&self) -> Status {
        self.0.status
    }

    /// The stable code, where there is one.
    pub(crate) fn reason_code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// The sentence that a person reads.
    pub(crate) fn text(&self) -> &str {
        &self.0.text
    }

    /// Whether nothing is to be said.
    pub(crate) fn is_silent(&self) -> bool {
        self.0.silent
    }

    /// The lines for a person: `error:`, then what it is about, then `hint:`.
    pub(crate) fn lines(&self) -> Vec<String> {
        let code = self.0.code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
        let mut lines = vec![format!("error: {}{code}", self.0.text)];
        for item in self.0.items.iter().take(ITEMS_SHOWN_MAX) {
            // The first item is often the sentence itself; saying it twice helps nobody.
            let line = if item.path.is_empty() { item.text.clone() } else { format!("{}: {}", item.path, item.text) };
            if line != self.0.text {
                lines.push(format!("  {line}"));
            }
        }
        if self.0.items.len() > ITEMS_SHOWN_MAX {
            lines.push(format!("  and {} more; --json lists them", self.0.items.len() - ITEMS_SHOWN_MAX));
        }
        lines.extend(self.0.hint.iter().filter(|hint| !hint.is_empty()).map(|hint| format!("hint: {hint}")));
        lines
    }

    /// The object for a program.
    pub(crate) fn object(&self) -> Value {
        let mut object = self.0.facts.clone();
        let mut error = Map::new();
        if let Some(code) = &self.0.code {
            error.insert("code".to_owned(), json!(code));
        }
        error.insert("text".to_owned(), json!(self.0.text));
        if let Some(hint) = &self.0.hint {
            error.insert("hint".to_owned(), json!(hint));
        }
        if !self.0.items.is_empty() {
            error.insert("items".to_owned(), json!(self.0.items));
        }
        object.insert("error".to_owned(), Value::Object(error));
        Value::Object(object)
    }

    fn code(mut self, reason: Reason) -> Self {
        self.0.code = Some(reason.code().to_owned());
        self.0.hint.get_or_insert_with(|| reason.remedy().to_owned());
        self
    }

    fn new(status: Status, text: impl Into<String>) -> Self {
        Self(Box::new(Said {
            status,
            code: None,
            text: text.into(),
            hint: None,
            items: Vec::new(),
            facts: Map::new(),
            silent: false,
        }))
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let text = error.to_string();
        match error {
            ApiError::NoHome { home } => Self::bad_input(Reason::BadInput, text).hint(format!(
                "make one with `medseal --home {} init ...`, or name another with --home",
                home.display()
            )),
            ApiError::NoSocket { .. } => Self::try_again(text)
                .code(Reason::GatewayAway)
                .hint("the operator starts the gateway; `socket` under [staff] in its medseal.toml names the path"),
            ApiError::Away { home } => Self::try_again(text)
                .code(Reason::GatewayAway)
                .hint(format!("start it with `medseal --home {} serve`, or `systemctl start medseal`", home.display())),
            ApiError::Unreachable { .. } => Self::unable(text)
                .hint("the home belongs to the gateway's own user; its staff names the socket with --socket PATH"),
            ApiError::Broke(_) => Self::try_again(text).hint("the gateway's own log says what happened to it"),
            ApiError::Problem(problem) => {
                let status = match problem.status {
                    403 => Status::Refused,
                    503 => Status::TryAgain,
                    _ => Status::Unable,
                };
                let mut failure = Self::new(status, problem.detail).items(problem.items);
                failure.0.code = Some(problem.code);
                failure.0.hint = Some(problem.hint);
                match problem.bundle {
                    Some(bundle) => failure.fact("bundle", bundle),
                    None => failure,
                }
            }
            ApiError::Answer(_) => Self::unable(text).hint("gateway and program must be of one version"),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::unable(format!("{error:#}"))
    }
}

/// More than this many documents or rules are only counted.
const ITEMS_SHOWN_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_the_cause_and_then_what_mends_it() {
        let failure = Failure::refused(Reason::NoConsent, "no consent covers this").hint("ask the patient");
        assert_eq!(failure.lines(), ["error: no consent covers this (NO_CONSENT)", "hint: ask the patient"]);
        assert_eq!(failure.status() as u8, 1);
    }

    #[test]
    fn a_problem_keeps_its_code_and_gets_the_status_of_the_contract() {
        for (http, status) in
            [(403, Status::Refused), (503, Status::TryAgain), (400, Status::Unable), (500, Status::Unable)]
        {
            let problem = serde_json::from_value(json!({"code": "X", "detail": "d", "hint": "h", "status": http}));
            let failure = Failure::from(ApiError::Problem(Box::new(problem.expect("a problem"))));
            assert_eq!(failure.status(), status);
            assert_eq!(failure.reason_code(), Some("X"));
        }
    }
}
