//! From kept samples to images: which samples share a mosaic.

use smalti_data::mosaic::{Layout, Plan, PlannedImage, group};
use smalti_data::tables::Selection;

/// Every image to be written: in class order, grid² kept samples in each, as many whole images as a class fills. Rows of a class beyond
/// `classes` are left out; [`crate::select`] and [`crate::from_given`] make none.
pub fn plan(selection: &Selection, classes: usize, layout: &Layout) -> Plan {
    let mut kept: Vec<Vec<(u32, u32)>> = vec![Vec::new(); classes];
    for row in selection.rows.iter().filter(|r| r.verdict.is_kept()) {
        if let Some(class) = kept.get_mut(row.class_id as usize) {
            class.push((row.rank_in_class, row.sample));
        }
    }
    // A layout without tiles cannot be made by `Layout::new`; it holds nothing.
    let tiles = (layout.samples_per_image() as usize).max(1);
    let mut images = Vec::new();
    for (class_id, mut ranked) in kept.into_iter().enumerate() {
        ranked.sort_unstable();
        let ranked: Vec<u32> = ranked.into_iter().map(|(_, sample)| sample).collect();
        let whole = ranked.len() / tiles;
        images.extend(
            group(&ranked[..whole * tiles], whole as u32, layout)
                .into_iter()
                .enumerate()
                .map(|(index, samples)| PlannedImage { class_id: class_id as u32, index: index as u32, samples }),
        );
    }
    Plan { images }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smalti_data::tables::{Selected, Verdict};

    /// Class 0 keeps 8 samples, class 1 keeps 7, class 2 one; ranks run against the sample numbers.
    fn selection() -> Selection {
        let of = |class_id: u32, kept: u32| {
            (0..10).map(move |rank| Selected {
                sample: class_id * 10 + 9 - rank,
                class_id,
                rank_in_class: rank,
                verdict: if rank < kept { Verdict::kept(0) } else { Verdict::left(0) },
            })
        };
        Selection { rows: of(2, 1).chain(of(0, 8)).chain(of(1, 7)).collect(), ..Selection::default() }
    }

    #[test]
    fn images_hold_the_kept_samples_in_the_order_of_the_mosaic() {
        let layout = Layout { grid: 2, size: 8 };
        let plan = plan(&selection(), 3, &layout);
        let image = |class_id, index, samples: [u32; 4]| PlannedImage { class_id, index, samples: samples.into() };
        // Image i has the ranks i, i + ipc, i + 2 ipc and so on; seven samples fill one image, one sample fills none.
        let expected = vec![image(0, 0, [9, 7, 5, 3]), image(0, 1, [8, 6, 4, 2]), image(1, 0, [19, 18, 17, 16])];
        assert_eq!(plan.images, expected);
    }

    #[test]
    fn a_grid_of_one_is_the_plain_subset_in_rank_order() {
        let layout = Layout { grid: 1, size: 8 };
        let plan = plan(&selection(), 2, &layout);
        let samples: Vec<u32> = plan.images.iter().flat_map(|i| i.samples.clone()).collect();
        assert_eq!(samples, [9, 8, 7, 6, 5, 4, 3, 2, 19, 18, 17, 16, 15, 14, 13]);
    }
}
