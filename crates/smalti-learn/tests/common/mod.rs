//! The Python of the reference tests: `make test` sets it up in `.venv`; without it these tests say so and pass.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("crates/smalti-learn lies two folders down")
        .to_owned()
}

/// Runs a committed script, given from the root of the checkout, and returns its output; none where Python or torchvision is
/// absent, which `make test` does not allow.
pub fn python(script: &str, arguments: &[&Path]) -> Option<String> {
    let venv = root().join(".venv");
    let python = venv.join("bin/python");
    if !venv.join("full.done").exists() {
        assert!(std::env::var_os("SMALTI_REFERENCES").is_none(), "`make test` has set up {}", venv.display());
        eprintln!("skipped: {} with torchvision is absent; `make test` sets it up", python.display());
        return None;
    }
    let mut command = Command::new(&python);
    // The action of a script with several comes before its folder.
    let (script, action) = script.split_once(' ').map_or((script, None), |(script, action)| (script, Some(action)));
    command.arg(root().join(script)).args(action).args(arguments);
    let output = command.output().expect("python was started a moment ago");
    assert!(output.status.success(), "{script} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("the scripts print ASCII"))
}
