//! What the law says of countries: to which none may send, and when people come of age.
//!
//! Rule: an institution's own file can only add: another country, a higher age. Neither can it open what ours closes.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::id::Country;

/// The table in force.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Countries {
    restricted: BTreeMap<Country, BTreeSet<Country>>,
    of_age: BTreeMap<Country, u8>,
    of_age_elsewhere: u8,
}

/// The form of a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "about")]
    _about: String,
    restricted: BTreeMap<Country, BTreeSet<Country>>,
    #[serde(default)]
    of_age: BTreeMap<String, u8>,
}

impl Countries {
    /// The shipped table.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let mut countries = Self::default();
        countries.add(text)?;
        if countries.of_age_elsewhere < AGE_MIN {
            return Err(format!("of_age.default is {}; {AGE_MIN} is the least", countries.of_age_elsewhere));
        }
        Ok(countries)
    }

    /// Adds what the institution's own file says.
    pub(super) fn add(&mut self, text: &str) -> Result<(), String> {
        let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
        for (from, to) in file.restricted {
            self.restricted.entry(from).or_default().extend(to);
        }
        for (country, years) in file.of_age {
            let (before, place) = if country == "default" {
                (self.of_age_elsewhere, &mut self.of_age_elsewhere)
            } else {
                let country: Country = country.parse().map_err(|error| format!("of_age: {error}"))?;
                let before = self.of_age(&country);
                (before, self.of_age.entry(country).or_insert(before))
            };
            if years < before || years > AGE_MAX {
                return Err(format!("of_age.{country} is {years}; it can only be raised, from {before} to {AGE_MAX}"));
            }
            *place = years;
        }
        Ok(())
    }

    /// The countries to which records may not be sent from `origin`.
    pub(super) fn restricted_from(&self, origin: &Country) -> BTreeSet<Country> {
        self.restricted.get(origin).cloned().unwrap_or_default()
    }

    /// At how many years somebody comes of age in `country`. A raised default raises every country's.
    pub(super) fn of_age(&self, country: &Country) -> u8 {
        self.of_age.get(country).copied().unwrap_or_default().max(self.of_age_elsewhere)
    }
}

const AGE_MIN: u8 = 18;
const AGE_MAX: u8 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn country(text: &str) -> Country {
        text.parse().expect("a country")
    }

    fn file(restricted: &str, of_age: &str) -> String {
        format!(r#"{{"about": "a test", "restricted": {restricted}, "of_age": {of_age}}}"#)
    }

    fn shipped() -> Countries {
        Countries::read(&file(r#"{"IN": ["XX"]}"#, r#"{"default": 18, "KR": 19}"#)).expect("a table")
    }

    #[test]
    fn an_institution_can_restrict_more_countries_and_frees_none() {
        let mut table = shipped();
        table.add(&file(r#"{"IN": ["YY"], "DE": ["ZZ"]}"#, "{}")).expect("added");
        assert_eq!(table.restricted_from(&country("IN")), BTreeSet::from([country("XX"), country("YY")]));
        assert_eq!(table.restricted_from(&country("DE")), BTreeSet::from([country("ZZ")]));
        table.add(&file(r#"{"IN": []}"#, "{}")).expect("added");
        assert_eq!(table.restricted_from(&country("IN")).len(), 2);
        assert!(table.restricted_from(&country("FR")).is_empty());
    }

    #[test]
    fn an_institution_can_raise_an_age_and_not_lower_it() {
        let mut table = shipped();
        table.add(&file("{}", r#"{"IN": 21}"#)).expect("raised");
        let ages = ["IN", "KR", "DE"].map(|each| table.of_age(&country(each)));
        assert_eq!(ages, [21, 19, 18]);
        for lower in [r#"{"KR": 18}"#, r#"{"default": 16}"#, r#"{"DE": 17}"#, r#"{"IN": 20}"#, r#"{"IN": 31}"#] {
            assert!(table.clone().add(&file("{}", lower)).is_err(), "{lower}");
        }
        table.add(&file("{}", r#"{"default": 20}"#)).expect("raised for all");
        let ages = ["IN", "KR", "DE"].map(|each| table.of_age(&country(each)));
        assert_eq!(ages, [21, 20, 20]);
    }

    #[test]
    fn a_table_that_is_not_in_the_form_is_none() {
        for text in ["{}", "[]", &file(r#"{"India": []}"#, "{}"), &file("{}", r#"{"India": 18}"#)] {
            assert!(Countries::default().add(text).is_err(), "{text}");
        }
        assert!(Countries::read(&file("{}", "{}")).is_err(), "no age at all");
        assert!(Countries::read(&file("{}", "{}").replace("about", "abuot")).is_err(), "a misspelt field");
    }
}
