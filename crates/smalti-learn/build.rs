//! Lets everything in this crate that is linked find libtorch without an environment variable, and refuses another version of it.

use std::path::{Path, PathBuf};

/// The version whose headers `tch` 0.24 was written for; another one links and then misbehaves.
const WANTED: &str = "2.11.";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The real folder, not the link in this checkout: a program outlives the clone it was built in.
    let lib = std::env::var_os("DEP_TCH_LIBTORCH_LIB").and_then(|lib| PathBuf::from(lib).canonicalize().ok());
    let Some(lib) = lib else { return };
    if let Some(found) = lib.parent().and_then(version)
        && !found.starts_with(WANTED)
    {
        println!("cargo:error=libtorch at {} is {found}; the build needs {WANTED}0", lib.display());
        println!("cargo:error=unset LIBTORCH and run `make`, which fetches the right one");
        return;
    }
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    compile(&lib);
}

/// The node of the autograd graph that libtorch's C interface lacks. The headers lie where `torch-sys` finds them.
fn compile(lib: &Path) {
    println!("cargo:rerun-if-changed=native/node.cpp");
    println!("cargo:rerun-if-env-changed=LIBTORCH_INCLUDE");
    let home = std::env::var_os("LIBTORCH_INCLUDE").map(PathBuf::from).or_else(|| lib.parent().map(Path::to_path_buf));
    let include = home.unwrap_or_default().join("include");
    let api = include.join("torch/csrc/api/include");
    let mut build = cc::Build::new();
    build.cpp(true).pic(true).warnings(false).std("c++17").includes([include, api]);
    build.file("native/node.cpp").compile("smalti_node");
}

/// The version of a libtorch folder: an unpacked archive has `build-version`, a Python wheel `version.py`.
fn version(home: &Path) -> Option<String> {
    if let Ok(text) = std::fs::read_to_string(home.join("build-version")) {
        return Some(text.trim().to_owned());
    }
    let text = std::fs::read_to_string(home.join("version.py")).ok()?;
    let line = text.lines().find(|line| line.starts_with("__version__"))?;
    line.split('\'').nth(1).map(str::to_owned)
}
