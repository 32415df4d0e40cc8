//! The chain and the tree of a whole log, read from its files on every core.
//!
//! Rule: it answers only for a log in which it doubts nothing. Whatever it doubts, the walk of [`super`] looks at again
//! line by line, and names it; so both say the same of every log.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use memchr::{memchr_iter, memrchr};

use crate::audit::tree::{Frontier, parent};
use crate::id::Digest;
use crate::json::Shapes;
use crate::leaf::{self, LEAF_BYTES_MAX, Link, NO_LEAF};

/// A log in which each entry follows from the one before.
#[derive(Debug)]
pub(super) struct Sound {
    /// The tree over its entries.
    pub(super) tree: Frontier,
    /// The roots at the sizes that were asked for, as far as the log reaches.
    pub(super) roots: Vec<(u64, Digest)>,
}

/// Reads the entries in these files, and the root at each of these sizes; `None` if there is anything to doubt.
pub(super) fn sound(
    files: &[PathBuf],
    sizes: &[u64],
    cores: usize,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Option<Sound>> {
    let mut blocks = Blocks { files: files.iter(), file: None, rest: Vec::new() };
    let mut whole = Whole::new(sizes);
    if cores < 2 {
        let (mut block, mut shapes) = (Vec::new(), Shapes::default());
        while blocks.next(&mut block)? {
            if !Piece::read(&block, sizes, &mut shapes).is_some_and(|piece| whole.join(piece)) {
                return Ok(None);
            }
            progress(whole.tree.size());
        }
        return Ok(Some(whole.end()));
    }
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| Worker::start(scope, sizes)).collect();
        let (mut sent, mut joined, mut spare) = (0, 0, Vec::new());
        loop {
            let mut block = spare.pop().unwrap_or_default();
            let more = blocks.next(&mut block)?;
            if more {
                workers[sent % cores].send(block);
                sent += 1;
            }
            // In order, and never more blocks in memory than each worker has one to do and one in hand.
            while joined < sent && (!more || sent - joined >= 2 * cores) {
                let (piece, block) = workers[joined % cores].answer();
                if !piece.is_some_and(|piece| whole.join(piece)) {
                    return Ok(None);
                }
                spare.push(block);
                joined += 1;
                progress(whole.tree.size());
            }
            if !more {
                return Ok(Some(whole.end()));
            }
        }
    })
}

/// A thread that reads blocks. It ends with its channels.
struct Worker {
    blocks: SyncSender<Vec<u8>>,
    answers: Receiver<(Option<Piece>, Vec<u8>)>,
}

impl Worker {
    fn start<'scope>(scope: &'scope thread::Scope<'scope, '_>, sizes: &'scope [u64]) -> Self {
        let (blocks, inbox) = sync_channel::<Vec<u8>>(2);
        let (outbox, answers) = sync_channel(2);
        scope.spawn(move || {
            let mut shapes = Shapes::default();
            for block in inbox {
                let piece = Piece::read(&block, sizes, &mut shapes);
                if outbox.send((piece, block)).is_err() {
                    // Nobody wants to know any more: something was doubted.
                    return;
                }
            }
        });
        Self { blocks, answers }
    }

    fn send(&self, block: Vec<u8>) {
        self.blocks.send(block).expect("a worker lives as long as its channels");
    }

    fn answer(&self) -> (Option<Piece>, Vec<u8>) {
        self.answers.recv().expect("a worker answers each block")
    }
}

/// Files in pieces of whole lines.
struct Blocks<'a> {
    files: std::slice::Iter<'a, PathBuf>,
    file: Option<File>,
    /// The beginning of a line whose end is still to be read.
    rest: Vec<u8>,
}

impl Blocks<'_> {
    /// Fills `block` with the next lines; false when there are none.
    fn next(&mut self, block: &mut Vec<u8>) -> io::Result<bool> {
        block.clear();
        loop {
            let Some(file) = &mut self.file else {
                let Some(path) = self.files.next() else { return Ok(false) };
                self.file = Some(File::open(path)?);
                continue;
            };
            block.append(&mut self.rest);
            let wanted = (BLOCK_BYTES - block.len()) as u64;
            if file.take(wanted).read_to_end(block)? as u64 == wanted {
                // What has no end within a block is no entry: whoever reads it will say so.
                let end = memrchr(b'\n', block).map_or(block.len(), |at| at + 1);
                self.rest.extend_from_slice(&block[end..]);
                block.truncate(end);
                return Ok(true);
            }
            self.file = None;
            if !block.is_empty() {
                return Ok(true);
            }
        }
    }
}

/// Some entries that follow from each other.
struct Piece {
    first: Link,
    last: Link,
    last_hash: Digest,
    /// The roots of the largest full subtrees that lie within it, by their levels. None reaches over a size at which the
    /// root is wanted.
    nodes: Vec<(u32, Digest)>,
}

impl Piece {
    /// Reads the lines of a block; `None` if there is anything to doubt.
    fn read(block: &[u8], sizes: &[u64], shapes: &mut Shapes) -> Option<Self> {
        let mut piece: Option<Self> = None;
        let mut floor = 0;
        let mut line_at = 0;
        let ends = memchr_iter(b'\n', block).chain((block.last() != Some(&b'\n')).then_some(block.len()));
        for end in ends {
            let line = &block[line_at..end];
            line_at = end + 1;
            if shapes.check(line, LEAF_BYTES_MAX).is_err() {
                return None;
            }
            let hash = leaf::hash(line);
            let piece = match &mut piece {
                None => {
                    let first = Link::read(line)?;
                    piece.insert(Self { first, last: first, last_hash: hash, nodes: Vec::new() })
                }
                Some(piece) => {
                    let next = Link::of_next(line, &piece.last_hash, piece.last.seq.checked_add(1)?)?;
                    if next.at < piece.last.at {
                        return None;
                    }
                    (piece.last, piece.last_hash) = (next, hash);
                    piece
                }
            };
            if sizes.contains(&piece.last.seq) {
                floor = piece.nodes.len();
            }
            piece.push(hash, floor);
        }
        piece
    }

    /// Adds a leaf, and joins it with what stands before it to the largest full subtrees, down to `floor`.
    fn push(&mut self, leaf: Digest, floor: usize) {
        let (mut node, mut level) = (leaf, 0);
        while self.last.seq >> level & 1 == 1
            && self.nodes.len() > floor
            && let Some((_, left)) = self.nodes.pop_if(|(of, _)| *of == level)
        {
            node = parent(&left, &node);
            level += 1;
        }
        self.nodes.push((level, node));
    }
}

/// The pieces that were joined so far.
struct Whole<'a> {
    tree: Frontier,
    newest: Option<(Digest, Link)>,
    sizes: &'a [u64],
    roots: Vec<(u64, Digest)>,
}

impl<'a> Whole<'a> {
    const fn new(sizes: &'a [u64]) -> Self {
        Self { tree: Frontier::new(), newest: None, sizes, roots: Vec::new() }
    }

    /// Adds the next piece; false if it does not follow from what is there.
    fn join(&mut self, piece: Piece) -> bool {
        let follows = match &self.newest {
            None => piece.first.prev == NO_LEAF,
            Some((hash, newest)) => piece.first.prev == *hash && piece.first.at >= newest.at,
        };
        if !follows || piece.first.seq != self.tree.size() {
            return false;
        }
        for (level, root) in piece.nodes {
            self.look();
            self.tree.push_subtree(level, root);
        }
        self.newest = Some((piece.last_hash, piece.last));
        true
    }

    /// Notes the root where it is wanted.
    fn look(&mut self) {
        if self.sizes.contains(&self.tree.size()) {
            self.roots.push((self.tree.size(), self.tree.root()));
        }
    }

    fn end(mut self) -> Sound {
        self.look();
        Sound { tree: self.tree, roots: self.roots }
    }
}

/// As much as is read at once: some hundred entries, which are still in the core's own cache when they are hashed.
const BLOCK_BYTES: usize = 1 << 17;
