//! Are two written names spellings of one name? The words of a name in no order, in Latin letters as passports write them.
//!
//! Rule: a spelling is tolerated, a letter is not. What a passport office makes of a letter (ICAO Doc 9303, ELOT 743)
//! is the same name; one other letter is another name. Two words that were both transliterated are never compared by
//! what they could have become: `Гари` and `Хари` may both be written Hari, and are two names.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// A name as its words, without case and punctuation; accents stay until two names are compared.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct Name(Vec<Word>);

#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
struct Word {
    /// Without accents, in its own script.
    plain: String,
    /// Every way to write it in the letters a to z.
    latin: BTreeSet<String>,
}

impl Name {
    /// Reads a name; `None` when it holds no letter.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut kept = String::new();
        for c in text.nfkc().flat_map(char::to_lowercase).nfc() {
            match c {
                // O'Brien and O’Brien are one word, Meyer-Landrut is two.
                '\'' | '’' | 'ʼ' | '`' => {}
                c if c.is_alphanumeric() || is_combining_mark(c) => kept.push(c),
                _ => kept.push(' '),
            }
        }
        let mut words: Vec<Word> = kept.split_whitespace().map(Word::read).collect();
        let is_initial = |word: &Word| word.plain.len() == 1;
        // J. F. Kennedy: an initial says nothing beside two words, and all there is without them.
        if words.iter().filter(|word| !is_initial(word)).count() >= 2 {
            words.retain(|word| !is_initial(word));
        }
        words.sort_unstable();
        words.dedup();
        (!words.is_empty()).then_some(Self(words))
    }

    /// A middle name or a title may be missing on one side, but not all but one word.
    pub(super) fn fits(&self, other: &Self) -> bool {
        let (few, many) = if self.0.len() <= other.0.len() { (self, other) } else { (other, self) };
        let within = |few: &Self, many: &Self| few.0.iter().all(|word| many.0.iter().any(|theirs| theirs.is(word)));
        (few.0.len() >= 2 || many.0.len() == 1)
            && within(few, many)
            && (few.0.len() < many.0.len() || within(many, few))
    }
}

impl Word {
    fn read(text: &str) -> Self {
        let mut latin = BTreeSet::from([String::new()]);
        for c in text.chars() {
            let stripped = stripped(c);
            let ways: Vec<&str> = match spellings(c) {
                [] => vec![&stripped],
                known => known.to_vec(),
            };
            // A word of many such letters keeps the first, which is the passport's.
            let ways = if latin.len() * ways.len() > SPELLINGS_MAX { &ways[..1] } else { &ways[..] };
            latin = latin.iter().flat_map(|start| ways.iter().map(move |way| format!("{start}{way}"))).collect();
        }
        latin.retain(|word| word.is_ascii());
        Self { plain: text.chars().map(stripped).collect(), latin }
    }

    fn is(&self, other: &Self) -> bool {
        self.plain == other.plain || other.latin.contains(&self.plain) || self.latin.contains(&other.plain)
    }
}

/// A letter without its accents. Й is a letter, not an и with an accent.
fn stripped(c: char) -> String {
    match c {
        'й' | 'ї' | 'ё' | 'ў' => c.to_string(),
        'ß' => "ss".to_owned(),
        'æ' => "ae".to_owned(),
        'œ' => "oe".to_owned(),
        'ø' => "o".to_owned(),
        'ł' => "l".to_owned(),
        'đ' | 'ð' => "d".to_owned(),
        'þ' => "th".to_owned(),
        'ı' => "i".to_owned(),
        'ς' => "σ".to_owned(),
        c => c.nfkd().filter(|c| !is_combining_mark(*c)).collect(),
    }
}

/// How a letter is written from a to z: the passport's way first. Nothing for a letter that only loses its accent.
#[expect(clippy::match_same_arms, reason = "a table by script: letters that look alike are not one letter")]
const fn spellings(c: char) -> &'static [&'static str] {
    match c {
        // Latin.
        'ä' | 'æ' => &["ae", "a"],
        'ö' | 'ø' => &["oe", "o"],
        'ü' => &["ue", "u"],
        'å' => &["aa", "a"],
        'ð' => &["d", "dh"],
        // Cyrillic.
        'а' => &["a"],
        'б' => &["b"],
        'в' => &["v", "w"],
        'г' => &["g", "h"],
        'ґ' => &["g"],
        'д' => &["d"],
        'е' => &["e", "ye"],
        'ё' => &["e", "yo", "io"],
        'є' => &["ie", "ye"],
        'ж' => &["zh", "j"],
        'з' => &["z"],
        'и' => &["i", "y"],
        'і' => &["i"],
        'ї' => &["i", "yi"],
        'й' => &["i", "y", "j"],
        'к' => &["k"],
        'л' => &["l"],
        'м' => &["m"],
        'н' => &["n"],
        'о' => &["o"],
        'п' => &["p"],
        'р' => &["r"],
        'с' => &["s"],
        'т' => &["t"],
        'у' | 'ў' => &["u"],
        'ф' => &["f"],
        'х' => &["kh", "h"],
        'ц' => &["ts", "c"],
        'ч' => &["ch"],
        'ш' => &["sh"],
        'щ' => &["shch"],
        'ъ' => &["ie", ""],
        'ы' => &["y"],
        'ь' => &[""],
        'э' => &["e"],
        'ю' => &["iu", "yu"],
        'я' => &["ia", "ya"],
        // Greek.
        'α' | 'ά' => &["a"],
        'β' => &["v", "b"],
        'γ' => &["g"],
        'δ' => &["d"],
        'ε' | 'έ' => &["e"],
        'ζ' => &["z"],
        'η' | 'ή' | 'ι' | 'ί' | 'ϊ' | 'ΐ' => &["i"],
        'θ' => &["th"],
        'κ' => &["k"],
        'λ' => &["l"],
        'μ' => &["m"],
        'ν' => &["n"],
        'ξ' => &["x"],
        'ο' | 'ό' | 'ω' | 'ώ' => &["o"],
        'π' => &["p"],
        'ρ' => &["r"],
        'σ' | 'ς' => &["s"],
        'τ' => &["t"],
        'υ' | 'ύ' | 'ϋ' | 'ΰ' => &["y", "u"],
        'φ' => &["f", "ph"],
        'χ' => &["ch", "h"],
        'ψ' => &["ps"],
        _ => &[],
    }
}

/// The most ways of writing one word that are tried.
const SPELLINGS_MAX: usize = 256;
