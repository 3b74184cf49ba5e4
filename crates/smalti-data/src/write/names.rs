//! Folder names of classes that every file system and every reader takes.

use crate::error::{Error, Result};
use std::collections::HashMap;

/// Longest folder name in bytes; file systems take 255, and the image's number and ending come after it.
const LONGEST: usize = 200;

/// The folder name of each class.
///
/// # Errors
/// [`Error::Input`] naming two classes that would share a folder.
pub(super) fn folders(classes: &[String]) -> Result<Vec<String>> {
    let mut owners: HashMap<String, &String> = HashMap::new();
    classes
        .iter()
        .map(|class| {
            let folder = folder(class);
            match owners.insert(folder.clone(), class) {
                None => Ok(folder),
                Some(other) => Err(Error::input(
                    format!(
                        "the classes `{}` and `{}` would share the folder `{folder}`",
                        other.escape_debug(),
                        class.escape_debug()
                    ),
                    "rename one of them in the source",
                )),
            }
        })
        .collect()
}

/// Replaces what separates paths, what Windows refuses, control characters, leading dots (hidden) and trailing dots and spaces.
fn folder(class: &str) -> String {
    let odd = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    let mut name: String = class.chars().map(|c| if odd(c) { '_' } else { c }).collect();
    while name.len() > LONGEST {
        name.pop();
    }
    if name.is_empty() || name.starts_with('.') {
        name = format!("_{}", name.trim_start_matches('.'));
    }
    let kept = name.trim_end_matches(['.', ' ']);
    let cut = name.len() - kept.len();
    format!("{kept}{}", "_".repeat(cut))
}

/// File name of image `index` of a class.
pub(super) fn image(folder: &str, index: u32, extension: &str) -> String {
    format!("{folder}_{index:05}.{extension}")
}

/// Whether a file name may be one of ours: an image of `folder`, or the temporary sibling of one.
pub(super) fn is_image(name: &str, folder: &str) -> bool {
    let name = name.strip_suffix(".partial").unwrap_or(name);
    let stem = name.strip_suffix(".png").or_else(|| name.strip_suffix(".jpg"));
    let number = stem.and_then(|stem| stem.strip_prefix(folder)).and_then(|rest| rest.strip_prefix('_'));
    number.is_some_and(|number| number.len() >= 5 && number.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_become_safe_ones() {
        for (class, expected) in [
            ("n01440764", "n01440764"),
            ("great white shark, white shark", "great white shark, white shark"),
            ("schön", "schön"),
            ("a/b\\c:d", "a_b_c_d"),
            ("..", "_"),
            ("../../etc", "__.._etc"),
            (".hidden", "_hidden"),
            ("", "_"),
            ("end. ", "end__"),
            ("two\nlines", "two_lines"),
        ] {
            assert_eq!(folder(class), expected, "{class:?}");
        }
        assert!(folder(&"ä".repeat(300)).len() <= LONGEST);
    }

    #[test]
    fn classes_that_would_share_a_folder_are_named() {
        let error = folders(&["a/b".into(), "c".into(), "a_b".into()]).expect_err("refused");
        assert!(error.to_string().contains("`a/b` and `a_b`"), "{error}");
    }

    #[test]
    fn only_our_own_names_are_recognised() {
        for ours in ["cat_00000.png", "cat_123456.jpg", "cat_00001.png.partial"] {
            assert!(is_image(ours, "cat"), "{ours}");
        }
        for other in ["cat_0000.png", "dog_00000.png", "cat_00000.gif", "cat_0000x.png", "cat.png"] {
            assert!(!is_image(other, "cat"), "{other}");
        }
    }
}
