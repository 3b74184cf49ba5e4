//! Files of the wild: no panic, and the same verdict as Pillow but for a short list.

use crate::util::shared;
use smalti_data::decode::{MAX_PIXELS, decode, dimensions};
use std::process::Command;

/// Where the verdict differs from Pillow's, and why.
const DIFFERENT: [(&str, &str); 13] = [
    ("png-bad__xcsn0g01.png", "Pillow ignores a wrong checksum of pixel data"),
    ("png-bad__broken_data_stream.png", "Pillow ignores a wrong checksum of pixel data"),
    ("png-bad__truncated_end_chunk.png", "Pillow needs no whole end chunk"),
    ("png-bad__unknown_compression_method.png", "Pillow refuses an ancillary chunk that holds no pixels"),
    ("bomb__png_decompression_dos.png", "Pillow refuses a large text chunk; we do not unpack it"),
    ("gif__no_palette.gif", "Pillow takes a GIF without a palette as grey"),
    ("tiff__multipage-lastframe.tif", "palettes of 1 bit are not read"),
    ("tiff__crash-0da013a13571cc8eb457a39fee8db18f8a3c7127.tif", "grey of 2 bits is not read"),
    ("other__hopper.avif", "AVIF is not read, nor by torchvision's folders"),
    ("other__avif-orientation-6.avif", "AVIF is not read, nor by torchvision's folders"),
    ("other__16bit.cropped.jp2", "JPEG 2000 is not read, nor by torchvision's folders"),
    ("other__hopper.ico", "icons are not read, nor by torchvision's folders"),
    ("other__sample.cur", "cursors are not read, nor by torchvision's folders"),
];

#[test]
fn odd_files_are_read_or_refused_as_pillow_does() {
    let Some(tar) = shared("odd-images.tar") else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    if !Command::new("tar").arg("xf").arg(&tar).arg("-C").arg(dir.path()).status().is_ok_and(|status| status.success())
    {
        eprintln!("skipped: tar does not run here");
        return;
    }
    let root = dir.path().join("odd-images");
    let index = std::fs::read_to_string(root.join("INDEX.tsv")).expect("an index");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for line in index.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let (name, pillow) = (columns[0], columns[2]);
        let Ok(bytes) = std::fs::read(root.join(name)) else { continue };
        seen += 1;
        let ours = decode(&bytes);
        if let Ok(picture) = &ours {
            assert_eq!(dimensions(&bytes).ok(), Some((picture.width, picture.height)), "{name}");
            assert!(u64::from(picture.width) * u64::from(picture.height) <= MAX_PIXELS, "{name}");
        }
        let expected = pillow.starts_with("yes") != DIFFERENT.iter().any(|(known, _)| *known == name);
        if ours.is_ok() != expected {
            wrong.push(format!("{name}: ours {ours:?}, Pillow {pillow}"));
        }
    }
    assert!(seen > 190, "{seen} files");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn damage_anywhere_is_an_error_or_a_picture_never_a_panic() {
    let good = [crate::util::png(1), crate::util::jpeg(2)];
    for bytes in good {
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            let _ = (decode(&damaged), dimensions(&damaged));
            let cut = decode(&bytes[..at]);
            assert!(cut.is_err() || at + 12 >= bytes.len(), "a file cut at {at} of {} decodes", bytes.len());
        }
    }
}
