//! The demonstration: a labelled image folder that the program paints itself, so that nothing has to be downloaded.
//!
//! [`images`] decides what each image shows and writes the folder; `scene` draws one image; `shapes` and `paint` are its parts.

pub mod images;
mod paint;
mod scene;
mod shapes;
