//! Images inside the page: base64 in `data:` addresses, so that the file can be mailed and opened anywhere.

use super::data::Picture;

/// Formats that every browser shows and that cannot carry a script.
const MIMES: [&str; 4] = ["image/png", "image/jpeg", "image/webp", "image/gif"];

/// The address of a picture that holds the picture.
///
/// # Errors
/// A format that is not in the list, or no bytes at all.
pub fn data_uri(picture: &Picture) -> anyhow::Result<String> {
    let Some(mime) = MIMES.iter().find(|mime| **mime == picture.mime) else {
        anyhow::bail!(
            "cannot show a picture of class `{}` as `{}`; encode it as one of {}",
            picture.class,
            picture.mime,
            MIMES.join(", ")
        );
    };
    anyhow::ensure!(
        !picture.bytes.is_empty(),
        "a picture of class `{}` has no bytes; leave it out of the report",
        picture.class
    );
    Ok(format!("data:{mime};base64,{}", base64(&picture.bytes)))
}

/// Base64 with padding (RFC 4648, section 4).
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0u32, |group, &byte| group << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(group >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() { letter as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standard() {
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"].map(|text| base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"]);
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn only_pictures_go_in() {
        let picture = |mime: &str, bytes: &[u8]| Picture {
            class: "fish".into(),
            caption: String::new(),
            mime: mime.into(),
            bytes: bytes.to_vec(),
            size: (1, 1),
        };
        assert_eq!(data_uri(&picture("image/png", b"foo")).expect("a picture"), "data:image/png;base64,Zm9v");
        for bad in
            [picture("image/svg+xml", b"foo"), picture("image/png\" onload=\"x", b"foo"), picture("image/png", b"")]
        {
            let error = data_uri(&bad).expect_err("not a picture").to_string();
            assert!(error.contains("class `fish`"), "{error}");
        }
    }
}
