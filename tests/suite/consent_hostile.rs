//! Is hostile JSON refused as a consent, in bounded time and memory, by the reader and by a gateway that serves?

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use medseal::consent::{CONSENT_BYTES_MAX, Consent, Notice};
use medseal::durable;
use serde_json::{Value, json};

use crate::asking::{consent, with};
use crate::needs;
use crate::site::Site;

/// What is wrong in itself, wherever it is read.
fn made_here() -> Vec<(&'static str, Vec<u8>)> {
    let text = consent().to_string();
    let inside = |what: &str| text.replacen(r#""status":"#, &format!(r#""text":{what},"status":"#), 1).into_bytes();
    let list = |element: &str, bytes: usize| {
        format!("[{}{element}]", format!("{element},").repeat(bytes / (element.len() + 1)))
    };
    let keys: Vec<String> = (0..20_000).map(|n| format!("\"k{n}\":1")).collect();
    vec![
        ("nested ten thousand deep", inside(&format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000)))),
        ("objects nested ten thousand deep", inside(&format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000)))),
        ("ten megabytes", inside(&list("1", 10 << 20))),
        ("one byte too long", [text.as_bytes(), &vec![b' '; CONSENT_BYTES_MAX + 1 - text.len()]].concat()),
        (
            "a key twice",
            text.replacen(r#""status":"active""#, r#""status":"active","status":"inactive""#, 1).into_bytes(),
        ),
        (
            "a key twice, once escaped",
            text.replacen(r#""status":"active""#, r#""status":"active","st\u0061tus":"inactive""#, 1).into_bytes(),
        ),
        ("something after the end", format!("{text}{text}").into_bytes()),
        ("a null", inside("null")),
        ("half a surrogate", inside(r#""\ud800""#)),
        ("no UTF-8", [b"\xff\xfe".as_slice(), text.as_bytes()].concat()),
        ("a byte order mark", [b"\xef\xbb\xbf".as_slice(), text.as_bytes()].concat()),
        ("cut off", text.as_bytes()[..text.len() - 1].to_vec()),
        ("a number without end", inside(&"9".repeat(200_000))),
        ("twenty thousand unknown keys", format!("{{{}}}", keys.join(",")).into_bytes()),
        ("a comment", text.replacen('{', "{/* permit */", 1).into_bytes()),
    ]
}

#[test]
fn hostile_json_is_no_consent_and_costs_little() {
    let started = Instant::now();
    for (what, bytes) in made_here() {
        assert!(Consent::parse(&bytes).is_err(), "{what} was read");
        assert!(!matches!(Notice::read(&bytes), Ok(Some(_))), "{what} was read as a notification");
    }
    // As large as a consent may be, and full of what has to be looked at: read or refused, but soon.
    let many = |element: Value, count: usize| Value::Array(vec![element; count]);
    let coding = json!({"system": "http://loinc.org", "code": "18842-5"});
    let large = with(consent(), |c| c["provision"]["class"] = many(coding, 4000));
    assert!(large.to_string().len() < CONSENT_BYTES_MAX && Consent::parse(large.to_string().as_bytes()).is_ok());
    let nested = with(consent(), |c| c["provision"]["provision"] = many(json!({"type": "deny"}), 14_000));
    assert!(nested.to_string().len() < CONSENT_BYTES_MAX);
    drop(Consent::parse(nested.to_string().as_bytes()));
    assert!(started.elapsed() < Duration::from_secs(20), "it took {:?}", started.elapsed());
}

#[test]
fn a_code_with_a_nul_or_a_hidden_direction_names_nothing() {
    for odd in ["TREAT\u{0}", "TREAT\u{202e}", "TREAT ", " TREAT", "TRE\u{200b}AT", "treat"] {
        let strange = with(consent(), |c| c["provision"]["purpose"][0]["code"] = json!(odd));
        assert_ne!(crate::asking::code(crate::asking::document("a.pdf"), &[strange]), "ALLOW", "{odd:?}");
    }
}

#[test]
fn a_gateway_refuses_the_hostile_files_one_after_the_other_and_stays_small() {
    let (Some(hostile), Some(python), Some(curl)) =
        (needs::data("hostile/make_hostile.py"), needs::tool("python3"), needs::tool("curl"))
    else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let made = Command::new(python).arg(hostile).arg(folder.path()).output().expect("python runs");
    assert!(made.status.success());
    let mut files: Vec<_> = ["json", "xml"]
        .iter()
        .flat_map(|kind| fs::read_dir(folder.path().join(kind)).expect("made"))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    for (number, (_, bytes)) in made_here().into_iter().enumerate() {
        let path = folder.path().join(format!("made-{number:02}"));
        durable::write_new(&path, &bytes, 0o600).expect("written");
        files.push(path);
    }
    assert!(files.len() > 25, "{files:?}");

    let mut site = Site::init(folder.path(), "tallinn-east", "EE");
    site.start();
    let peak = || -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", site.daemon_id())).expect("the daemon runs");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
        line.split_ascii_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    };
    let before = peak();
    for path in &files {
        let started = Instant::now();
        let answer = post(&curl, &site, path);
        assert!(answer.contains("\"code\":") && answer.contains("\"status\":400"), "{}: {answer}", path.display());
        assert!(started.elapsed() < Duration::from_secs(10), "{} took {:?}", path.display(), started.elapsed());
    }
    // The largest body is ten megabytes; nothing may cost a multiple of what came.
    let grown = peak() - before;
    assert!(grown < 64 * 1024, "the gateway grew by {grown} KiB");
    assert!(site.run(&["consent", "list"]).ok().json["items"].as_array().expect("a list").is_empty());
}

fn post(curl: &Path, site: &Site, file: &Path) -> String {
    let output = Command::new(curl)
        .args(["-sS", "--max-time", "60", "--unix-socket"])
        .arg(site.home.join("medseal.sock"))
        .args(["-X", "POST", "--data-binary"])
        .arg(format!("@{}", file.display()))
        .arg("http://staff/v1/consents")
        .output()
        .expect("curl runs");
    assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
