use super::*;

fn header() -> LabelHeader {
    LabelHeader {
        version: VERSION,
        teacher: "resnet18 00ff".into(),
        classes: vec!["a".into(), "b".into()],
        set: "cc".into(),
        images: 5,
        size: 8,
        decoding: None,
        views: "constrained".into(),
        batch: 3,
        steps: 4,
        seed: 7,
    }
}

fn step(number: u64, images: &[u32], mixed: Option<LabelMix>) -> LabelledStep {
    let row = |&image: &u32| LabelRow {
        image,
        epoch: (number / 2) as u32,
        arrangement: image % 3,
        region: PixelBox { left: 1, top: image, width: 2, height: 3 },
        flipped: image == 2,
        partner: 0,
    };
    let logits = (0..2 * images.len()).map(|at| f16::from_f32(at as f32 - 1.5)).collect();
    LabelledStep { number, rows: images.iter().map(row).collect(), mixed, logits }
}

fn written(dir: &Path) -> Vec<LabelledStep> {
    let region = Some(PixelBox { left: 0, top: 4, width: 8, height: 4 });
    let steps = vec![
        step(0, &[0, 1, 2], None),
        step(1, &[3, 4], Some(LabelMix { region, own: 0.5 })),
        step(2, &[4, 3, 2], Some(LabelMix { region: None, own: 0.25 })),
    ];
    write_epoch(dir, (0, 0), &header(), steps[..2].iter().cloned().map(Ok)).expect("written");
    write_epoch(dir, (3, 2), &header(), steps[2..].iter().cloned().map(Ok)).expect("written");
    steps
}

#[test]
fn steps_read_back_one_at_a_time_in_any_order() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let steps = written(dir.path());
    let labels = SoftLabels::open(dir.path()).expect("labels");
    assert_eq!((labels.steps(), &labels.header), (3, &header()));
    for number in [2, 0, 1] {
        assert_eq!(labels.step(number).expect("stored"), steps[number as usize]);
    }
    assert!(labels.step(3).expect_err("beyond the last").to_string().contains("step 3"));
    labels.check().expect("as written");
    let bytes: u64 =
        [0, 3].iter().map(|&epoch| std::fs::metadata(epoch_path(dir.path(), epoch)).expect("there").len()).sum();
    assert_eq!(labels.bytes().expect("there"), bytes);
}

#[test]
fn damaged_foreign_and_impossible_labels_are_named() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    assert!(SoftLabels::open(dir.path()).expect_err("nothing").hint().expect("a hint").contains("relabel"));
    written(dir.path());
    let other = LabelHeader { seed: 8, ..header() };
    write_epoch(dir.path(), (3, 2), &other, std::iter::once(Ok(step(2, &[1], None)))).expect("written");
    let error = SoftLabels::open(dir.path()).expect_err("another seed").to_string();
    assert!(error.contains("epoch=3.parquet") && error.contains("something else"), "{error}");

    for (wrong, words) in [
        (step(2, &[9], None), "an image that the set lacks"),
        (LabelledStep { logits: vec![f16::NAN; 2], ..step(2, &[1], None) }, "no number"),
    ] {
        write_epoch(dir.path(), (3, 2), &header(), std::iter::once(Ok(wrong))).expect("written");
        let labels = SoftLabels::open(dir.path()).expect("the footers are fine");
        let error = labels.step(2).expect_err("impossible").to_string();
        assert!(error.contains("epoch=3.parquet") && error.contains(words), "{error}");
    }
    written(dir.path());
    let path = epoch_path(dir.path(), 3);
    let mut bytes = std::fs::read(&path).expect("there");
    let at = bytes.len() / 3;
    bytes[at] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    let labels = SoftLabels::open(dir.path());
    let error = labels.and_then(|labels| labels.check()).expect_err("one bit is wrong").to_string();
    assert!(error.contains("epoch=3.parquet"), "{error}");

    written(dir.path());
    std::fs::remove_file(epoch_path(dir.path(), 0)).expect("removed");
    let error = SoftLabels::open(dir.path()).expect_err("the first epoch is gone").to_string();
    assert!(error.contains("step 0 is missing"), "{error}");
}
