//! Signatures over exact bytes: SSHSIG for statements, raw Ed25519 for log notes.
