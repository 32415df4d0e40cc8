//! A small PDF writer (ISO 32000-1) for letters: A4, the standard fonts, text, lines and boxes.
//!
//! Rule: the same letter gives the same bytes; no clock, no random id, no compression.

use unicode_normalization::UnicodeNormalization;

/// One of the two standard fonts; every reader has them.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Font {
    Regular,
    Bold,
}

/// A colour, each part from 0 to 1000.
#[derive(Clone, Copy)]
pub(super) struct Colour(pub(super) u16, pub(super) u16, pub(super) u16);

pub(super) const INK: Colour = Colour(110, 130, 160);
pub(super) const GREY: Colour = Colour(420, 450, 490);
pub(super) const PALE: Colour = Colour(945, 957, 970);
pub(super) const WHITE: Colour = Colour(1000, 1000, 1000);
pub(super) const RED: Colour = Colour(690, 130, 120);

/// Who writes a letter, and in which colour.
pub(super) struct Letterhead<'a> {
    pub(super) institution: &'a str,
    pub(super) department: &'a str,
    pub(super) address: &'a str,
    pub(super) colour: Colour,
}

/// A letter in the making. All measures are in tenths of a point, from the top left.
pub(super) struct Letter<'a> {
    head: Letterhead<'a>,
    title: &'a str,
    /// Who it is about, once more on each further page, should the pages part.
    about: String,
    pages: Vec<String>,
    y: i32,
}

const WIDTH: i32 = 5950;
const HEIGHT: i32 = 8420;
const LEFT: i32 = 620;
const RIGHT: i32 = WIDTH - 620;
const BOTTOM: i32 = HEIGHT - 760;
const BODY: i32 = 98;
const LEADING: i32 = 138;

impl<'a> Letter<'a> {
    /// Starts a letter with its head, its title and the box that says whom it is about.
    pub(super) fn new(head: Letterhead<'a>, title: &'a str, about: &[(&str, &str)]) -> Self {
        let short = about.iter().take(3).map(|(_, value)| *value).collect::<Vec<_>>().join(" \u{b7} ");
        let mut letter = Self { head, title, about: short, pages: Vec::new(), y: 0 };
        letter.first_page();
        letter.put(LEFT, 1290, Font::Bold, 175, INK, title);
        letter.y = 1430;
        let rows = i32::try_from(about.len().div_ceil(2)).unwrap_or(0);
        letter.fill(LEFT, letter.y, RIGHT - LEFT, rows * 150 + 110, PALE);
        for (at, (label, value)) in (0..).zip(about) {
            let (x, y) = (LEFT + 100 + (at % 2) * 2380, letter.y + 160 + at / 2 * 150);
            letter.put(x, y, Font::Regular, 82, GREY, label);
            letter.put(x + 780, y, Font::Bold, 92, INK, value);
        }
        letter.y += rows * 150 + 330;
        letter
    }

    /// A heading with a rule below it.
    pub(super) fn heading(&mut self, text: &str) {
        self.need(3 * LEADING + 180);
        self.y += 90;
        self.put(LEFT, self.y, Font::Bold, 112, self.head.colour, text);
        self.fill(LEFT, self.y + 45, RIGHT - LEFT, 6, Colour(800, 820, 850));
        self.y += 215;
    }

    /// A paragraph, broken into lines.
    pub(super) fn text(&mut self, text: &str) {
        self.block(text, LEFT, RIGHT, Font::Regular);
        self.y += 60;
    }

    /// A list.
    pub(super) fn list(&mut self, items: &[&str]) {
        for item in items {
            self.need(LEADING);
            self.put(LEFT + 40, self.y, Font::Regular, BODY, self.head.colour, "\u{2022}");
            self.block(item, LEFT + 180, RIGHT, Font::Regular);
            self.y += 18;
        }
        self.y += 45;
    }

    /// Rows of a label and what it says.
    pub(super) fn table(&mut self, rows: &[(&str, &str)]) {
        for (label, value) in rows {
            let lines = wrap(value, RIGHT - LEFT - 1250, Font::Regular, BODY).len();
            self.need(LEADING * i32::try_from(lines).unwrap_or(1));
            self.put(LEFT, self.y, Font::Bold, BODY, INK, label);
            self.block(value, LEFT + 1250, RIGHT, Font::Regular);
            self.fill(LEFT, self.y - LEADING + 50, RIGHT - LEFT, 3, Colour(870, 885, 905));
            self.y += 32;
        }
        self.y += 60;
    }

    /// A box around a sentence that must not be overlooked.
    pub(super) fn callout(&mut self, text: &str) {
        let lines = wrap(text, RIGHT - LEFT - 260, Font::Bold, BODY);
        let height = LEADING * i32::try_from(lines.len()).unwrap_or(1) + 130;
        self.need(height + 60);
        self.fill(LEFT, self.y - 100, RIGHT - LEFT, height, PALE);
        self.fill(LEFT, self.y - 100, 30, height, self.head.colour);
        self.y += 45;
        for line in lines {
            self.put(LEFT + 140, self.y, Font::Bold, BODY, INK, &line);
            self.y += LEADING;
        }
        self.y += 120;
    }

    /// Who signs.
    pub(super) fn signature(&mut self, name: &str, office: &str, note: &str) {
        self.need(620);
        self.y += 230;
        self.fill(LEFT, self.y - 110, 1900, 6, GREY);
        self.put(LEFT, self.y, Font::Bold, BODY, INK, name);
        self.put(LEFT, self.y + LEADING, Font::Regular, 90, INK, office);
        self.put(LEFT, self.y + 2 * LEADING, Font::Regular, 84, GREY, note);
        self.y += 3 * LEADING;
    }

    /// The whole file.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let pages = std::mem::take(&mut self.pages);
        let count = pages.len();
        let mut file = File::default();
        let kids = (0..count).map(|at| format!("{} 0 R", FIRST_PAGE + 2 * at)).collect::<Vec<_>>().join(" ");
        file.object(b"<< /Type /Catalog /Pages 2 0 R /Lang (en) >>");
        file.object(format!("<< /Type /Pages /Count {count} /Kids [{kids}] >>").as_bytes());
        for name in ["Helvetica", "Helvetica-Bold"] {
            file.object(
                format!("<< /Type /Font /Subtype /Type1 /BaseFont /{name} /Encoding /WinAnsiEncoding >>").as_bytes(),
            );
        }
        let mut info = b"<< /Title ".to_vec();
        info.extend(literal(self.title));
        info.extend(b" /Author ");
        info.extend(literal(self.head.institution));
        info.extend(b" /Subject (Synthetic sample: fictional patient, fictional institutions) /Producer (medseal) >>");
        file.object(&info);
        for (at, mut page) in pages.into_iter().enumerate() {
            let footer = format!("Page {} of {count}", at + 1);
            page.push_str(&put(
                RIGHT - measure(&footer, Font::Regular, 78),
                HEIGHT - 440,
                Font::Regular,
                78,
                GREY,
                &footer,
            ));
            let content = FIRST_PAGE + 2 * at + 1;
            file.object(
                format!(
                    "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {content} 0 R \
                     /Resources << /Font << /F1 3 0 R /F2 4 0 R >> >> >>"
                )
                .as_bytes(),
            );
            let bytes = win_ansi(&page);
            let mut stream = format!("<< /Length {} >>\nstream\n", bytes.len()).into_bytes();
            stream.extend(bytes);
            stream.extend(b"\nendstream");
            file.object(&stream);
        }
        file.finish()
    }

    fn first_page(&mut self) {
        self.pages.push(String::new());
        let Letterhead { institution, department, address, colour } = self.head;
        self.fill(0, 0, WIDTH, 860, colour);
        self.put(LEFT, 400, Font::Bold, 185, WHITE, institution);
        self.put(LEFT, 560, Font::Regular, 98, WHITE, department);
        self.put(LEFT, 690, Font::Regular, 82, WHITE, address);
        self.mark(300);
    }

    fn further_page(&mut self) {
        self.pages.push(String::new());
        let Letterhead { institution, colour, .. } = self.head;
        self.fill(0, 0, WIDTH, 420, colour);
        self.put(LEFT, 205, Font::Bold, 110, WHITE, institution);
        let line = format!("{} \u{b7} {}", self.title, self.about);
        self.put(LEFT, 330, Font::Regular, 88, WHITE, &line);
        self.mark(130);
        self.y = 660;
    }

    /// What no page may be without.
    fn mark(&mut self, y: i32) {
        let mark = "SYNTHETIC SAMPLE";
        let width = measure(mark, Font::Bold, 80) + 120;
        self.fill(RIGHT - width, y, width, 160, WHITE);
        self.put(RIGHT - width + 60, y + 108, Font::Bold, 80, RED, mark);
        self.fill(LEFT, HEIGHT - 580, RIGHT - LEFT, 4, Colour(800, 820, 850));
        let note =
            "Synthetic sample document. Patient, clinicians and institutions are fictional. Not for clinical use.";
        self.put(LEFT, HEIGHT - 440, Font::Regular, 78, RED, note);
    }

    /// Starts a new page when less than `height` is left on this one.
    fn need(&mut self, height: i32) {
        if self.y + height > BOTTOM {
            self.further_page();
        }
    }

    fn block(&mut self, text: &str, left: i32, right: i32, font: Font) {
        for line in wrap(text, right - left, font, BODY) {
            self.need(LEADING);
            self.put(left, self.y, font, BODY, INK, &line);
            self.y += LEADING;
        }
    }

    fn put(&mut self, x: i32, y: i32, font: Font, size: i32, colour: Colour, text: &str) {
        if let Some(page) = self.pages.last_mut() {
            page.push_str(&put(x, y, font, size, colour, text));
        }
    }

    fn fill(&mut self, x: i32, y: i32, width: i32, height: i32, colour: Colour) {
        let operators = format!(
            "{} rg {} {} {} {} re f\n",
            rgb(colour),
            points(x),
            points(HEIGHT - y - height),
            points(width),
            points(height)
        );
        if let Some(page) = self.pages.last_mut() {
            page.push_str(&operators);
        }
    }
}

/// Objects 1 to 5 are the catalogue, the pages, two fonts and the title.
const FIRST_PAGE: usize = 6;

fn put(x: i32, y: i32, font: Font, size: i32, colour: Colour, text: &str) -> String {
    let name = if font == Font::Bold { "F2" } else { "F1" };
    let text: String =
        text.chars().flat_map(|c| matches!(c, '(' | ')' | '\\').then_some('\\').into_iter().chain([c])).collect();
    format!(
        "BT {} rg /{name} {} Tf {} {} Td ({text}) Tj ET\n",
        rgb(colour),
        points(size),
        points(x),
        points(HEIGHT - y)
    )
}

fn rgb(Colour(red, green, blue): Colour) -> String {
    let part = |part: u16| format!("{}.{:03}", part / 1000, part % 1000);
    format!("{} {} {}", part(red), part(green), part(blue))
}

/// Tenths of a point, as PDF writes a number.
fn points(tenths: i32) -> String {
    let sign = if tenths < 0 { "-" } else { "" };
    format!("{sign}{}.{}", tenths.abs() / 10, tenths.abs() % 10)
}

/// Breaks a text into lines that are no wider than `width`.
fn wrap(text: &str, width: i32, font: Font, size: i32) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        if line.is_empty() || measure(&longer, font, size) <= width {
            *line = longer;
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// The width of a text in tenths of a point, by the fonts' published metrics.
fn measure(text: &str, font: Font, size: i32) -> i32 {
    let widths = if font == Font::Bold { &BOLD } else { &REGULAR };
    let thousandths: i32 = text
        .chars()
        .map(|c| match c {
            '\u{2014}' => 1000,
            '\u{2022}' => 350,
            '\u{b7}' => 278,
            // A letter with an accent is as wide as the letter.
            c => std::iter::once(c)
                .nfkd()
                .next()
                .and_then(|c| u32::from(c).checked_sub(32))
                .and_then(|at| widths.get(usize::try_from(at).ok()?).copied())
                .map_or(556, i32::from),
        })
        .sum();
    thousandths * size / 1000
}

/// Text in Windows code page 1252, which `WinAnsiEncoding` is; what it lacks becomes a question mark.
fn win_ansi(text: &str) -> Vec<u8> {
    text.nfc()
        .map(|c| match c {
            '\u{20ac}' => 0x80,
            '\u{160}' => 0x8a,
            '\u{17d}' => 0x8e,
            '\u{2018}' => 0x91,
            '\u{2019}' => 0x92,
            '\u{201c}' => 0x93,
            '\u{201d}' => 0x94,
            '\u{2022}' => 0x95,
            '\u{2013}' => 0x96,
            '\u{2014}' => 0x97,
            '\u{161}' => 0x9a,
            '\u{17e}' => 0x9e,
            c if c.is_ascii() || ('\u{a0}'..='\u{ff}').contains(&c) => u8::try_from(u32::from(c)).unwrap_or(b'?'),
            _ => b'?',
        })
        .collect()
}

/// A text string of the document's information: UTF-16 with its mark.
fn literal(text: &str) -> Vec<u8> {
    let digits: Vec<String> = text.encode_utf16().map(|unit| format!("{unit:04X}")).collect();
    format!("<FEFF{}>", digits.concat()).into_bytes()
}

/// The file: objects and where each starts.
#[derive(Default)]
struct File {
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl File {
    fn object(&mut self, content: &[u8]) {
        if self.bytes.is_empty() {
            // Four bytes beyond ASCII say that the file is binary.
            self.bytes.extend(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n");
        }
        self.starts.push(self.bytes.len());
        self.bytes.extend(format!("{} 0 obj\n", self.starts.len()).into_bytes());
        self.bytes.extend(content);
        self.bytes.extend(b"\nendobj\n");
    }

    fn finish(mut self) -> Vec<u8> {
        let (table, size) = (self.bytes.len(), self.starts.len() + 1);
        self.bytes.extend(format!("xref\n0 {size}\n0000000000 65535 f \n").into_bytes());
        for start in &self.starts {
            self.bytes.extend(format!("{start:010} 00000 n \n").into_bytes());
        }
        let end = format!("trailer\n<< /Size {size} /Root 1 0 R /Info 5 0 R >>\nstartxref\n{table}\n%%EOF\n");
        self.bytes.extend(end.into_bytes());
        self.bytes
    }
}

/// Widths of the printable ASCII characters in Helvetica, in thousandths of the size.
const REGULAR: [u16; 95] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556,
    556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833,
    722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556,
    556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334,
    260, 334, 584,
];

/// The same for Helvetica-Bold.
const BOLD: [u16; 95] = [
    278, 333, 474, 556, 556, 889, 722, 238, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556,
    556, 556, 556, 333, 333, 584, 584, 584, 611, 975, 722, 722, 722, 722, 667, 611, 778, 722, 278, 556, 722, 611, 833,
    722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 333, 278, 333, 584, 556, 333, 556, 611, 556, 611,
    556, 333, 611, 611, 278, 278, 556, 278, 889, 611, 611, 611, 611, 389, 556, 333, 611, 556, 778, 556, 556, 500, 389,
    280, 389, 584,
];
