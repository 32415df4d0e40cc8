//! Documents, bags and archives.
