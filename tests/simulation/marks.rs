//! Which bundles' headers were about to be handed over, as the release itself says.
//!
//! Rule: a mark is older than the header's first byte.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Mutex, Once, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static MARKED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Listens from now on; once for the whole process.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(Ear).expect("nobody else listens"));
}

/// Whether the header of this bundle may have been handed over.
pub(crate) fn is_marked(bundle: &str) -> bool {
    MARKED.lock().unwrap_or_else(PoisonError::into_inner).contains(bundle)
}

struct Ear;

impl Subscriber for Ear {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "medseal::release"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut said = Said::default();
        event.record(&mut said);
        if said.message == "handing over" {
            MARKED.lock().unwrap_or_else(PoisonError::into_inner).insert(said.bundle);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Said {
    message: String,
    bundle: String,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "bundle" => self.bundle = format!("{value:?}"),
            _ => {}
        }
    }
}
