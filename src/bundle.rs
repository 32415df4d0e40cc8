//! Documents, bags and archives.

pub mod path;
pub mod document;
pub mod survey;
pub mod identity;
pub mod descriptor;
pub mod tar_write;
pub mod tar_read;
pub mod bag;
pub mod cover;
pub mod extract;
pub mod claim;
