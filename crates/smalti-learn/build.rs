//! Lets everything in this crate that is linked find libtorch without an environment variable, and refuses another version of it.

use std::path::{Path, PathBuf};

/// The version whose headers `tch` 0.24 was written for; another one links and then misbehaves.
const WANTED: &str = "2.11.";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The real folder, not the link in this checkout: a program outlives the clone it was built in.
    let named = std::env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from);
    let Some((named, lib)) = named.and_then(|named| Some((named.clone(), named.canonicalize().ok()?))) else {
        println!(
            "cargo:error=torch-sys names no folder of libtorch's libraries: this system is not one that Smalti is built on"
        );
        return;
    };
    if let Some(found) = lib.parent().and_then(version)
        && !found.starts_with(WANTED)
    {
        println!("cargo:error=libtorch at {} is {found}; the build needs {WANTED}0", lib.display());
        println!("cargo:error=unset LIBTORCH and run `make`, which fetches the right one");
        return;
    }
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    compile(&named);
}

/// The node of the autograd graph that libtorch's C interface lacks. The headers lie where `torch-sys` finds them, and strings have the form that it takes them to have.
fn compile(lib: &Path) {
    println!("cargo:rerun-if-changed=native/node.cpp");
    let given = |name: &str| {
        println!("cargo:rerun-if-env-changed={name}");
        std::env::var(name).ok()
    };
    let homes = [
        given("LIBTORCH_INCLUDE").map(PathBuf::from),
        lib.parent().map(Path::to_path_buf),
        given("LIBTORCH").map(PathBuf::from),
    ];
    let includes: Vec<PathBuf> = homes.into_iter().flatten().map(|home| home.join("include")).collect();
    let include =
        includes.iter().find(|include| include.join("ATen").is_dir()).or(includes.first()).cloned().unwrap_or_default();
    let abi = given("LIBTORCH_CXX11_ABI").unwrap_or_else(|| "1".to_owned());
    let api = include.join("torch/csrc/api/include");
    let mut build = cc::Build::new();
    build.cpp(true).pic(true).warnings(false).std("c++17").includes([include, api]);
    build.define("_GLIBCXX_USE_CXX11_ABI", &*abi);
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
