//! How a partner exchanges with us: with a gateway of its own, or with what every institution has.
//!
//! Rule: what a card does not say is `medseal`, and a card that says nothing stays byte for byte what it always was.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::split_endpoint;

/// How a partner exchanges.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Exchange {
    /// It runs a gateway that speaks our protocol. Never written: a card without the field says this.
    #[default]
    #[serde(skip)]
    Medseal,
    /// We put files on its ordinary web server.
    #[serde(rename = "https-put")]
    HttpsPut,
    /// It runs no server: it fetches from our gateway.
    #[serde(rename = "pull")]
    Pull,
}

impl Exchange {
    /// The word for a person, and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Medseal => "medseal",
            Self::HttpsPut => "https-put",
            Self::Pull => "pull",
        }
    }

    /// Whether the partner runs a gateway that speaks our protocol, answers with receipts and may be a witness.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands the field over like this")]
    pub const fn is_medseal(&self) -> bool {
        matches!(self, Self::Medseal)
    }

    /// Whether this text is an endpoint for such a partner.
    pub(super) fn allows_endpoint(self, endpoint: &str) -> bool {
        match self {
            Self::Medseal => split_endpoint(endpoint).is_some(),
            Self::HttpsPut => split_inbox(endpoint).is_some(),
            Self::Pull => endpoint.is_empty(),
        }
    }

    /// What such a partner's endpoint looks like.
    pub(super) const fn endpoint_form(self) -> &'static str {
        match self {
            Self::Medseal => "https://HOST:PORT",
            Self::HttpsPut => "https://HOST:PORT or https://HOST:PORT/FOLDER/ (letters, digits, - . _ ~)",
            Self::Pull => "no endpoint: whoever fetches runs no server",
        }
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The endpoint of a web server that files are put on, as its part up to the port and the folder behind it, which
/// begins and ends with `/`. `None` for anything that could mean something else to somebody's server.
pub fn split_inbox(endpoint: &str) -> Option<(&str, &str)> {
    let authority_bytes = endpoint.strip_prefix("https://")?.find('/').map(|at| at + "https://".len());
    let (base, folder) = authority_bytes.map_or((endpoint, "/"), |at| endpoint.split_at(at));
    split_endpoint(base)?;
    if folder == "/" {
        return Some((base, folder));
    }
    let parts = folder.strip_prefix('/')?.strip_suffix('/')?;
    let plain = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '~');
        !matches!(part, "" | "." | "..") && part.chars().all(allowed)
    };
    (folder.len() <= FOLDER_BYTES_MAX && parts.split('/').all(plain)).then_some((base, folder))
}

/// The longest folder of an endpoint, in bytes.
const FOLDER_BYTES_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_on_a_web_server_has_plain_names_only() {
        assert_eq!(split_inbox("https://a.example"), Some(("https://a.example", "/")));
        assert_eq!(split_inbox("https://a.example:8443/"), Some(("https://a.example:8443", "/")));
        assert_eq!(split_inbox("https://[::1]:9/in/box/"), Some(("https://[::1]:9", "/in/box/")));
        for bad in ["http://a.example/", "https://a.example/in", "https://a.example/../", "https://a.example/a//b/"] {
            assert_eq!(split_inbox(bad), None, "{bad}");
        }
        for bad in ["https://a.example/a%2f/", "https://a.example/a?b/", "https://u@a.example/", "https://a.example/ä/"]
        {
            assert_eq!(split_inbox(bad), None, "{bad}");
        }
        assert_eq!(split_inbox(&format!("https://a.example/{}/", "x".repeat(200))), None);
    }
}
