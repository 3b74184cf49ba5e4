//! Files of the wild: no panic, and verdict and pixels of Pillow but for two short lists.

use crate::readers::python;
use crate::util::shared;
use smalti_data::Rgb;
use smalti_data::decode::{MAX_PIXELS, decode, dimensions};
use std::path::Path;
use std::process::Command;

/// Where the verdict differs from Pillow's, and why.
const DIFFERENT: [(&str, &str); 9] = [
    ("png-bad__xcsn0g01.png", "Pillow ignores a wrong checksum of pixel data"),
    ("png-bad__unknown_compression_method.png", "Pillow refuses an ancillary chunk that holds no pixels"),
    ("bomb__png_decompression_dos.png", "Pillow refuses a large text chunk; we do not unpack it"),
    ("gif__no_palette.gif", "Pillow takes a GIF without a palette as grey"),
    ("other__hopper.avif", "AVIF is not read, nor by torchvision's folders"),
    ("other__avif-orientation-6.avif", "AVIF is not read, nor by torchvision's folders"),
    ("other__16bit.cropped.jp2", "JPEG 2000 is not read, nor by torchvision's folders"),
    ("other__hopper.ico", "icons are not read, nor by torchvision's folders"),
    ("other__sample.cur", "cursors are not read, nor by torchvision's folders"),
];

/// Files whose pixels differ from Pillow's, and why.
const OTHER_PIXELS: [(&str, &str); 3] = [
    ("gif__oob.gif", "Pillow widens the screen to a frame that leaves it; we cut the frame"),
    ("tiff__tiff_strip_cmyk_jpeg.tif", "JPEG inside TIFF goes through another decoder: up to 2 levels"),
    ("webp__anim.webp", "an animation that begins half transparent: colour under little opacity is rounded otherwise"),
];

/// What Pillow makes of a folder of files: size and pixels of each, or the name of its error.
fn pillow(folder: &Path, names: &[String]) -> Option<Vec<Result<Rgb, String>>> {
    let python = python()?;
    let pixels = tempfile::tempdir().expect("a temporary folder");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/odd.py");
    let output = Command::new(python).arg(script).arg(folder).arg(pixels.path()).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let of_name = |(at, name): (usize, &String)| match &found[name.as_str()] {
        serde_json::Value::String(error) => Err(error.clone()),
        size => Ok(Rgb {
            width: size[0].as_u64().expect("a width") as u32,
            height: size[1].as_u64().expect("a height") as u32,
            data: std::fs::read(pixels.path().join(format!("{at}.rgb"))).expect("written"),
        }),
    };
    Some(names.iter().enumerate().map(of_name).collect())
}

/// Our verdict, Pillow's, and how far the pixels are apart.
fn line(name: &str, ours: &Result<Rgb, String>, theirs: &Result<Rgb, String>) -> String {
    let verdict = |picture: &Result<Rgb, String>| match picture {
        Ok(picture) => format!("{} x {}", picture.width, picture.height),
        Err(cause) => cause.clone(),
    };
    let apart = match (ours, theirs) {
        (Ok(a), Ok(b)) if (a.width, a.height) == (b.width, b.height) => {
            let off: Vec<u8> = a.data.iter().zip(&b.data).map(|(a, b)| a.abs_diff(*b)).filter(|&d| d > 0).collect();
            match off.iter().max() {
                None => "the same pixels".to_owned(),
                Some(largest) => format!("{} values differ, by up to {largest}", off.len()),
            }
        }
        (Ok(_), Ok(_)) => "another size".to_owned(),
        (Err(_), Err(_)) => "refused by both".to_owned(),
        (Ok(_), Err(_)) => "read by us alone".to_owned(),
        (Err(_), Ok(_)) => "read by Pillow alone".to_owned(),
    };
    format!("{name} | {} | {} | {apart}", verdict(ours), verdict(theirs))
}

/// The table of what each file gives, ours and Pillow's; the snapshot beside this file is that table.
#[test]
fn odd_files_give_what_pillow_gives() {
    let Some(tar) = shared("odd-images.tar") else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    if !Command::new("tar").arg("xf").arg(&tar).arg("-C").arg(dir.path()).status().is_ok_and(|status| status.success())
    {
        eprintln!("skipped: tar does not run here");
        return;
    }
    let root = dir.path().join("odd-images");
    std::fs::remove_file(root.join("INDEX.tsv")).expect("an index");
    let mut names: Vec<String> = std::fs::read_dir(&root)
        .expect("unpacked")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert!(names.len() > 190, "{} files", names.len());
    let ours: Vec<Result<Rgb, String>> = names
        .iter()
        .map(|name| {
            let bytes = std::fs::read(root.join(name)).map_err(|error| error.to_string())?;
            let picture = decode(&bytes).map_err(|error| error.to_string().replace("cannot decode the image: ", ""))?;
            assert_eq!(dimensions(&bytes).ok(), Some((picture.width, picture.height)), "{name}");
            assert!(u64::from(picture.width) * u64::from(picture.height) <= MAX_PIXELS, "{name}");
            Ok(picture)
        })
        .collect();
    let Some(theirs) = pillow(&root, &names) else { return };
    let (mut table, mut wrong) = (String::from("file | ours | Pillow's | pixels\n"), Vec::new());
    for ((name, ours), theirs) in names.iter().zip(&ours).zip(&theirs) {
        let line = line(name, ours, theirs);
        let named = |list: &[(&str, &str)]| list.iter().any(|(known, _)| known == name);
        let as_expected = match (ours, theirs) {
            (Ok(a), Ok(b)) => (a == b) != named(&OTHER_PIXELS) && !named(&DIFFERENT),
            (Err(_), Err(_)) => !named(&DIFFERENT),
            _ => named(&DIFFERENT),
        };
        if !as_expected {
            wrong.push(line.clone());
        }
        table += &(line + "\n");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    insta::assert_snapshot!(table);
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
