//! What the officer's pages have in common: their head, their style for screen and paper, and words that are escaped.
//!
//! Rule: a page runs no script and loads nothing.

/// The page up to its first heading; the title is escaped.
pub(super) fn begin(title: &str) -> String {
    let title = escape(title);
    format!("{HEAD}<title>{title}</title>\n{STYLE}</head>\n<body>\n<main>\n<h1>{title}</h1>\n")
}

/// The end of the page.
pub(super) const END: &str = "</main>\n</body>\n</html>\n";

/// Text that is nothing but text.
pub(super) fn escape(text: &str) -> String {
    crate::bundle::cover::escape(text)
}

/// `2026-11-22 10:15 UTC`.
pub(super) fn moment(stamp: &str) -> String {
    match (stamp.get(..10), stamp.get(11..16)) {
        (Some(day), Some(time)) => format!("{day} {time} UTC"),
        _ => stamp.to_owned(),
    }
}

const HEAD: &str = "<!DOCTYPE html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">
<meta name=\"viewport\" content=\"width=device-width\">
";

const STYLE: &str = "<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.45 system-ui, sans-serif; margin: 0; }
main { max-width: 76rem; margin: 0 auto; padding: 2rem 1.5rem; }
h1 { font-size: 1.6rem; border-bottom: 3px solid #17695f; padding-bottom: .4rem; }
h2 { font-size: 1.15rem; margin: 1.8rem 0 .5rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.5rem; margin: 0; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .7rem .35rem 0; border-bottom: 1px solid #9995; }
td { overflow-wrap: anywhere; } td.when { white-space: nowrap; overflow-wrap: normal; }
td.when small { white-space: normal; } code.id { white-space: nowrap; }
small { display: block; opacity: .8; } code { font-size: .9em; overflow-wrap: anywhere; }
ul { padding-left: 1.2rem; margin: .4rem 0; font-size: .92rem; } li { margin: .25rem 0; } li small { display: inline; }
.late { font-weight: 700; color: #b3261e; }
footer { margin-top: 2rem; font-size: .85rem; opacity: .85; }
@page { margin: 14mm; }
@media print {
body { font-size: 9.5pt; color: #000; } main { max-width: none; padding: 0; }
h1 { font-size: 15pt; } h2 { font-size: 11pt; break-after: avoid; } table, ul { font-size: 8.5pt; }
thead { display: table-header-group; } tr { break-inside: avoid; } a { color: inherit; text-decoration: none; }
a[href]::after { content: \" (\" attr(href) \")\"; font-size: .85em; overflow-wrap: anywhere; }
}
</style>
";
