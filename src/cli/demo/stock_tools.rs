//! Opens a delivery without medseal: age, tar and sha256sum, as a reader at another institution would.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context as _;

use super::super::failure::Failure;
use crate::durable;

/// Whether the ordinary programs open the sealed file and find every digest right; `None` where age is not installed.
pub(super) fn agree(sealed: &Path, identity: &Path, folder: &Path) -> Result<Option<bool>, Failure> {
    durable::create_dir(folder, 0o700).context("a folder for the ordinary programs")?;
    let bag = folder.join("bag.tar");
    let mut age = Command::new("age");
    age.arg("-d").arg("-i").arg(identity).arg("-o").arg(&bag).arg(sealed);
    let Some(opened) = succeeds(&mut age)? else { return Ok(None) };
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(&bag).arg("-C").arg(folder);
    let Some(unpacked) = succeeds(&mut tar)? else { return Ok(None) };
    let top = sealed.file_stem().map(|name| folder.join(name)).unwrap_or_default();
    let mut sums = Command::new("sha256sum");
    sums.args(["-c", "--quiet", "--strict", "manifest-sha256.txt"]).current_dir(top);
    let Some(right) = succeeds(&mut sums)? else { return Ok(None) };
    Ok(Some(opened && unpacked && right))
}

/// `None` where the program is not installed.
fn succeeds(command: &mut Command) -> Result<Option<bool>, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) => Ok(Some(status.success())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("running {name}")).map_err(Failure::from),
    }
}
