//! Whose case the demo tells: the sample patient's, or that of whomever the spectator's documents name.

use std::path::Path;

use jiff::civil::Date;

use super::super::failure::Failure;
use super::super::gather::gather;
use super::super::heads;
use crate::id::PatientIdentifier;
use crate::sample_case::SampleCase;

/// The patient of the demo's case, and what is asked.
pub(super) struct Whose {
    pub(super) patient: PatientIdentifier,
    pub(super) name: String,
    pub(super) birth_date: Date,
    pub(super) question: &'static str,
    /// Whether the documents chose the patient.
    pub(super) of_input: bool,
}

impl Whose {
    /// The sample patient.
    pub(super) fn sample(sample: &SampleCase) -> Self {
        Self {
            patient: sample.patient.clone(),
            name: sample.name.to_owned(),
            birth_date: sample.birth_date,
            question: sample.question,
            of_input: false,
        }
    }

    /// The first patient whom a document names whole: with issuer and number, name, and date of birth. The sample
    /// patient where nobody is.
    pub(super) fn of(sample: &SampleCase, input: &Path) -> Result<Self, Failure> {
        let mut buffer = vec![0; heads::BUFFER_BYTES];
        for document in gather(&[input.to_owned()])? {
            for seen in heads::survey(&document, &mut buffer, |_| ())?.patients {
                let patient = seen.identifiers.iter().find_map(|identifier| {
                    PatientIdentifier::new(identifier.system.as_deref()?, &identifier.value).ok()
                });
                let born = seen.birth_date.as_deref().and_then(|date| date.parse().ok());
                if let (Some(patient), Some(name), Some(birth_date)) = (patient, seen.name(), born) {
                    let question = "Is the treatment that is planned the right one?";
                    return Ok(Self { patient, name: name.to_owned(), birth_date, question, of_input: true });
                }
            }
        }
        Ok(Self::sample(sample))
    }
}
