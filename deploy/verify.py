#!/usr/bin/env python3
"""Verifies an export of a medseal log with nothing but Python's own library and the openssl program.

    python3 verify.py [FOLDER] [--key KEY] [--trusted-checkpoint FILE] [--json]

KEY is the log's key (NAME+KEYID+BASE64) or a file that holds it. Take it from somewhere else than the export, such as
the institution's card: without --key or FILE it only shows that the export agrees with itself. FILE is a checkpoint
that you kept from earlier: it shows what even the holder of the log's key could not hide.

Exit code: 0 all is well; 1 something is wrong, and the first bad entry is named; 2 the check could not be made; 3
nothing is wrong, but nobody vouches for the export.
"""
import argparse
import base64
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import tempfile
import unicodedata

LEAF_BYTES_MAX = 16 * 1024
OPENING_BYTES_MAX = 64 * 1024 + 256
NOTE_BYTES_MAX = 64 * 1024
SUMS_BYTES_MAX = 64 * 1024 * 1024
STAMP_BYTES_MAX = 64 * 1024
TILE = 256
INTEGER_MAX = 2**53 - 1
LINK = re.compile(rb'\{"_prev":"([0-9a-f]{64})","_seq":(0|[1-9][0-9]{0,15}),'
                  rb'"_t":"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z)"[,}]')
ENTRIES = re.compile(r'entries-([0-9]{12})-([0-9]{12})\.jsonl')
SPKI_ED25519 = bytes.fromhex('302a300506032b6570032100')


class Finding(Exception):
    """Something that is wrong: the first entry concerned, what kind of wrong, and a sentence."""

    def __init__(self, seq, kind, message):
        super().__init__(message)
        self.seq, self.kind, self.message = seq, kind, message


class Refused(Exception):
    """A note or a key that does not count."""


def sha256(data):
    return hashlib.sha256(data).digest()


def unbase64(text):
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError('not in the one form')
    return data


# -- strict JSON: one form for each value

def read_strict(line):
    """Reads one strict line; raises ValueError for every other form of the same value."""
    text = line.decode('utf-8')

    def refuse(_):
        raise ValueError('not an integer')

    def fields(pairs):
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError('a key stands twice')
        return dict(pairs)

    try:
        value = json.loads(text, object_pairs_hook=fields, parse_float=refuse, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError('nested too deeply') from error
    check_value(value, 0)
    if json.dumps(value, sort_keys=True, separators=(',', ':'), ensure_ascii=False) != text:
        raise ValueError('not in the one form')
    return value


def check_value(value, depth):
    if isinstance(value, (dict, list)):
        depth += 1
        if depth > 8:
            raise ValueError('nested too deeply')
    if isinstance(value, dict):
        for key, inner in value.items():
            if not re.fullmatch('[a-z_][a-z0-9_]*' if depth == 1 else '[a-z0-9_]+', key, re.ASCII):
                raise ValueError('a key is not plain')
            check_value(inner, depth)
    elif isinstance(value, list):
        for inner in value:
            check_value(inner, depth)
    elif isinstance(value, str):
        if unicodedata.normalize('NFC', value) != value:
            raise ValueError('a text is not in NFC')
    elif value is None or (not isinstance(value, bool) and abs(value) > INTEGER_MAX):
        raise ValueError('a value is null or too large')


# -- keys and checkpoints: C2SP signed-note and tlog-checkpoint

class Key:
    def __init__(self, text):
        try:
            self.name, key_id, key = text.split('+', 2)
            raw = unbase64(key)
        except ValueError as error:
            raise Refused('not a log key of the form NAME+KEYID+BASE64') from error
        self.id = sha256(self.name.encode() + b'\n' + raw)[:4]
        if not is_name(self.name) or len(raw) != 33 or raw[0] != 1 or self.id.hex() != key_id:
            raise Refused('not a log key of the form NAME+KEYID+BASE64 with Ed25519')
        self.text, self.public = text, raw[1:]

    def pem(self):
        der = base64.b64encode(SPKI_ED25519 + self.public).decode()
        return '-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n' % der

    def verifies(self, body, signature):
        with tempfile.TemporaryDirectory() as folder:
            for name, data in (('key', self.pem().encode()), ('body', body), ('signature', signature)):
                with open(os.path.join(folder, name), 'wb') as file:
                    file.write(data)
            command = ['openssl', 'pkeyutl', '-verify', '-rawin', '-pubin', '-inkey', 'key', '-in', 'body',
                       '-sigfile', 'signature']
            return subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 0


class Checkpoint:
    def __init__(self, origin, size, root):
        self.origin, self.size, self.root = origin, size, root


def is_name(name):
    fits = 1 <= len(name.encode()) <= 255
    return fits and not any(c == '+' or c.isspace() or unicodedata.category(c) == 'Cc' for c in name)


def open_note(note, keys):
    """The checkpoint of a note and the signature that counted; raises Refused if no key of ours signed it."""
    body, lines = split_note(note)
    checkpoint = read_checkpoint(body)
    counted = None
    for name, key_id, signature in lines:
        for key in keys:
            if (key.name, key.id) != (name, key_id):
                continue
            if len(signature) != 64 or not key.verifies(body, signature):
                raise Refused('the signature of %s does not verify' % name)
            if key.name == checkpoint.origin and counted is None:
                counted = (key, signature)
    if counted is None:
        raise Refused('no signature of a known key')
    return checkpoint, body, counted


def split_note(note):
    try:
        text = note.decode('utf-8')
    except ValueError as error:
        raise Refused('not a signed checkpoint') from error
    split = text.rfind('\n\n')
    if len(note) > NOTE_BYTES_MAX or split < 0 or not text.endswith('\n') or split + 2 >= len(text):
        raise Refused('not a signed checkpoint')
    if any(c < ' ' and c != '\n' for c in text):
        raise Refused('not a signed checkpoint: it has a control character')
    lines = []
    for line in text[split + 2:-1].split('\n'):
        try:
            dash, name, signature = line.split(' ', 2)
            signature = unbase64(signature)
        except ValueError as error:
            raise Refused('not a signed checkpoint: a signature line is malformed') from error
        if dash != '\u2014' or not is_name(name) or len(signature) < 5:
            raise Refused('not a signed checkpoint: a signature line is malformed')
        lines.append((name, signature[:4], signature[4:]))
    if len(lines) > 64:
        raise Refused('not a signed checkpoint: too many signatures')
    return text[:split + 1].encode(), lines


def read_checkpoint(body):
    parts = body.decode().split('\n')
    try:
        origin, size, root, end = parts
        root = unbase64(root)
    except ValueError as error:
        raise Refused('not a signed checkpoint: it is not in the one form') from error
    decimal = re.fullmatch('0|[1-9][0-9]{0,19}', size, re.ASCII)
    if end or not is_name(origin) or not decimal or int(size) >= 2**64 or len(root) != 32:
        raise Refused('not a signed checkpoint: it is not in the one form')
    return Checkpoint(origin, int(size), root)


# -- the tree: RFC 6962

class Tree:
    def __init__(self, size=0, peaks=()):
        self.size, self.peaks = size, list(peaks)

    def push(self, leaf):
        self.size += 1
        size = self.size
        while size % 2 == 0:
            leaf = sha256(b'\x01' + self.peaks.pop() + leaf)
            size //= 2
        self.peaks.append(leaf)

    def root(self):
        if not self.peaks:
            return sha256(b'')
        root = self.peaks[-1]
        for left in reversed(self.peaks[:-1]):
            root = sha256(b'\x01' + left + root)
        return root


class Mark:
    """A size at which the root is wanted."""

    def __init__(self, checkpoint):
        self.size = checkpoint.size if checkpoint else None
        self.wanted = checkpoint.root if checkpoint else None
        self.found = None

    def see(self, tree):
        if self.size == tree.size and self.found is None:
            self.found = tree.root()

    def holds(self):
        return self.found == self.wanted


# -- the chain

class Walk:
    """The chain so far. The newest leaf joins the tree one step later: the next line shows whether it was edited."""

    def __init__(self, signed, trusted):
        self.seq, self.tree, self.newest, self.before = 0, Tree(), None, bytes(32)
        self.signed, self.trusted = Mark(signed), Mark(trusted)

    def step(self, line, rest):
        seq = self.seq
        link = read_link(line)
        if link is None or len(line) > LEAF_BYTES_MAX:
            raise Finding(seq, 'edited', 'entry %d was edited: its line is not an entry' % seq)
        prev, earlier = (self.newest[0], self.newest[1]) if self.newest else (self.before, b'')
        if link[0] != prev and link[1] == seq:
            intact = self.is_intact(line, rest, [link[0]])
            edited = max(seq - 1, 0) if intact else seq
            raise Finding(edited, 'edited', 'entry %d was edited: entry %d does not follow from it' % (edited, seq))
        if link[1] != seq and link[0] == prev:
            raise Finding(seq, 'edited', 'entry %d was edited: its number is another' % seq)
        if link[1] != seq:
            raise self.misplaced(link[1], rest)
        form = None
        if link[2] < earlier:
            form = 'is older than the one before it'
        else:
            try:
                read_strict(line)
            except ValueError:
                form = 'is not in the log\'s strict form'
        if form:
            if self.is_intact(line, rest, [self.newest[0]] if self.newest else []):
                raise Finding(seq, 'malformed', 'entry %d %s, although it was recorded so' % (seq, form))
            raise Finding(seq, 'edited', 'entry %d was edited: it %s' % (seq, form))
        self.push_newest()
        self.newest = (sha256(b'\x00' + line), link[2])
        self.seq += 1

    def is_intact(self, line, rest, before):
        """Whether what follows a line confirms it: the next entry, or for the last entry the signed root."""
        leaf = sha256(b'\x00' + line)
        following = read_link(next(rest, b''))
        if following:
            return following[0] == leaf
        tree = Tree(self.tree.size, self.tree.peaks)
        for other in before + [leaf]:
            tree.push(other)
        return self.signed.size == tree.size and self.signed.wanted == tree.root()

    def misplaced(self, found, rest):
        seq = self.seq
        if found < seq:
            return Finding(found, 'reordered', 'entry %d stands again in the place of entry %d' % (found, seq))
        if any(link and link[1] == seq for link in map(read_link, rest)):
            return Finding(seq, 'reordered', 'entry %d stands behind entry %d' % (seq, found))
        return Finding(seq, 'missing', 'entry %d is missing: entry %d stands in its place' % (seq, found))

    def push_newest(self):
        for see in (self.signed.see, self.trusted.see):
            see(self.tree)
        if self.newest:
            self.tree.push(self.newest[0])
        for see in (self.signed.see, self.trusted.see):
            see(self.tree)

    def finish(self):
        self.push_newest()
        self.newest = None


def read_link(line):
    match = LINK.match(line)
    if not match or int(match[2]) >= 10**16:
        return None
    return bytes.fromhex(match[1].decode()), int(match[2]), match[3]


def compare(walk, signed, refusal, trusted):
    size = walk.tree.size
    if refusal:
        raise Finding(size, 'bad-signature', 'the checkpoint does not count: %s' % refusal)
    last = signed.size - 1
    if size < signed.size:
        raise Finding(size, 'truncated', 'entries %d to %d are missing at the end' % (size, last))
    if not walk.signed.holds():
        message = 'entry %d was edited, or it and entries before it were rewritten together' % max(last, 0)
        raise Finding(max(last, 0), 'edited', message)
    if size > signed.size:
        raise Finding(signed.size, 'unsigned', 'the checkpoint does not cover entry %d' % signed.size)
    if not trusted:
        return
    last = max(trusted.size - 1, 0)
    if trusted.origin != signed.origin:
        message = 'this is the log %s, the trusted checkpoint is of %s' % (signed.origin, trusted.origin)
        raise Finding(last, 'forked', message)
    if size < trusted.size:
        message = 'entries %d to %d are missing at the end, the trusted checkpoint covers them' % (size, last)
        raise Finding(size, 'truncated', message)
    if not walk.trusted.holds():
        message = 'the first %d entries are not those of the trusted checkpoint' % trusted.size
        raise Finding(last, 'forked', message)


# -- a range: a stretch of a log, proved at both ends

def read_proof(folder, name):
    """Index, hashes and note of a C2SP tlog-proof; nothing is verified."""
    text = read_small(folder, name, 16 * 1024 + NOTE_BYTES_MAX).decode()
    head, _, note = text.partition('\n\n')
    lines = head.split('\n')
    if lines[0] != 'c2sp.org/tlog-proof@v1' or not re.fullmatch('index (0|[1-9][0-9]{0,15})', lines[1], re.ASCII):
        raise ValueError('not a proof')
    return int(lines[1][6:]), [unbase64(line) for line in lines[2:]], note.encode()


def tree_before(index, size, leaf, path, root):
    """The tree of all that stands to the left of a leaf, if the path leads from the leaf to the root."""
    left, node, at, last = [], leaf, index, size - 1
    if index >= size:
        raise ValueError('beyond the end of the log')
    for beside in path:
        if last == 0 or len(beside) != 32:
            raise ValueError('too long')
        while at == last and at % 2 == 0:
            at, last = at // 2, last // 2
        if at % 2:
            left.append(beside)
            node = sha256(b'\x01' + beside + node)
        else:
            node = sha256(b'\x01' + node + beside)
        at, last = at // 2, last // 2
    if last or node != root:
        raise ValueError('it does not lead to the root')
    return Tree(index, reversed(left))


def read_range(folder, keys):
    """What the file range says, the tree before the first entry, and the log as far as the last one."""
    def bad(message):
        raise Finding(0, 'bad-file', message)

    try:
        text = read_small(folder, 'range')
        found = read_strict(text[:-1])
        hashes = [found.pop(name) for name in ('before', 'first_leaf', 'last_leaf')]
        if not text.endswith(b'\n') or any(not re.fullmatch('[0-9a-f]{64}', one, re.ASCII) for one in hashes):
            raise ValueError('not in the one form')
        before, first_leaf, last_leaf = map(bytes.fromhex, hashes)
        first, last = found.pop('first'), found.pop('last')
        if found != {'format': 'medseal-range@v1'} or type(first) is not int or type(last) is not int:
            raise ValueError('other fields')
    except (ValueError, TypeError, KeyError, AttributeError):
        bad('the file range is malformed')
    try:
        open_note(read_small(folder, 'checkpoint'), keys)
    except Refused as error:
        raise Finding(first, 'bad-signature', 'the checkpoint does not count: %s' % error) from error
    try:
        one, path, first_note = read_proof(folder, 'first.tlog-proof')
        two, last_path, note = read_proof(folder, 'last.tlog-proof')
        signed, last_signed = open_note(first_note, keys)[0], open_note(note, keys)[0]
        if (one, two) != (first, last) or not 0 <= first <= last or signed.origin != last_signed.origin:
            raise ValueError('they are of other entries')
        if note != read_small(folder, 'checkpoint'):
            raise ValueError('the last entry is proved against another checkpoint')
        tree = tree_before(first, signed.size, first_leaf, path, signed.root)
        whole = tree_before(last, last_signed.size, last_leaf, last_path, last_signed.root)
    except (ValueError, IndexError, Refused) as error:
        bad('an end of the range is not proved: %s' % error)
    whole.push(last_leaf)
    return first, before, tree, Checkpoint(signed.origin, whole.size, whole.root())


# -- proofs of single entries

PROOF = re.compile(r'proofs/(0|[1-9][0-9]{0,19})\.(tlog-proof|entry)', re.ASCII)


def check_proofs(folder, found, first, lines, signed, bad):
    """Every file in proofs/ proves an entry of this export against its checkpoint, or is that entry."""
    wanted = set()
    for name in sorted(name for name in found if name.startswith('proofs')):
        match = PROOF.fullmatch(name)
        if not match:
            bad('the file %s is not the proof of an entry' % name)
        wanted.add(int(match[1]))
    for seq, line in enumerate(lines if wanted else [], first):
        if seq not in wanted:
            continue
        wanted.remove(seq)
        try:
            name = 'proofs/%d.tlog-proof' % seq
            index, path, note = read_proof(folder, name)
            if index != seq or note != read_small(folder, 'checkpoint'):
                raise ValueError('it is of another entry or checkpoint')
            tree_before(seq, signed.size, sha256(b'\x00' + line), path, signed.root)
            name = 'proofs/%d.entry' % seq
            if read_small(folder, name) != line + b'\n':
                raise ValueError('it is another entry')
        except (ValueError, IndexError):
            bad('the file %s is not that of entry %d in this log' % (name, seq))
    for seq in sorted(wanted):
        bad('the file proofs/%d.tlog-proof is of an entry that is not here' % seq)


RANGE_FILES = {'range', 'first.tlog-proof', 'last.tlog-proof', 'checkpoint', 'checkpoint.body', 'checkpoint.sig',
               'keys/log.pem', 'log.vkey', 'policy', 'verify.py', 'README', 'SHA256SUMS'}


# -- the tiles: C2SP tlog-tiles

def tile_name(kind, index, width):
    name = '%03d' % (index % 1000)
    while index >= 1000:
        index //= 1000
        name = 'x%03d/%s' % (index % 1000, name)
    return 'tile/%s/%s' % (kind, name) + ('' if width == TILE else '.p/%d' % width)


def tiles(lines):
    """Name and content of every tile over these entries, as soon as it is full; at the end those that are not."""
    size, bundle, rows = 0, [], [[]]
    for line in lines:
        size += 1
        bundle.append(len(line).to_bytes(2, 'big') + line)
        if len(bundle) == TILE:
            yield tile_name('entries', size // TILE - 1, TILE), b''.join(bundle)
            bundle = []
        node, level = sha256(b'\x00' + line), 0
        while node:
            row = rows[level]
            row.append(node)
            node = None
            if len(row) == TILE:
                yield tile_name(level, size // TILE**(level + 1) - 1, TILE), b''.join(row)
                node = root_of(row)
                rows[level] = []
                level += 1
                rows.extend([[]] if level == len(rows) else [])
    if bundle:
        yield tile_name('entries', size // TILE, len(bundle)), b''.join(bundle)
    for level, row in enumerate(rows):
        if row:
            yield tile_name(level, size // TILE**(level + 1), len(row)), b''.join(row)


def root_of(hashes):
    tree = Tree()
    for node in hashes:
        tree.push(node)
    return tree.root()


# -- time stamps: RFC 3161, in strict DER

INTEGER, OCTETS, OID, TIME, SEQUENCE, SET, EXPLICIT_0 = 2, 4, 6, 0x18, 0x30, 0x31, 0xa0
SHA_256 = bytes.fromhex('0609608648016503040201')


class Der:
    """What is left to read; raises ValueError for every other form."""

    def __init__(self, data):
        self.data = data

    def take(self, tag):
        data, at = self.data, 2
        if len(data) < 2 or data[0] != tag:
            raise ValueError('a value has another type')
        length = data[1]
        if length >= 0x80:
            at += length - 0x80
            if length not in (0x81, 0x82) or len(data) < at or data[2] == 0 or (length == 0x81 and data[2] < 0x80):
                raise ValueError('a length is malformed')
            length = int.from_bytes(data[2:at], 'big')
        if len(data) < at + length:
            raise ValueError('it ends too soon')
        self.data = data[at + length:]
        return data[at:at + length]

    def inside(self, tag):
        return Der(self.take(tag))

    def end(self):
        if self.data:
            raise ValueError('something follows its end')


def read_stamp(answer):
    """What was stamped, as a SHA-256, and when. The authority's signature is not looked at: `openssl ts -verify` does."""
    whole = Der(answer[:STAMP_BYTES_MAX])
    response = whole.inside(SEQUENCE)
    whole.end()
    if response.inside(SEQUENCE).take(INTEGER) not in (b'\x00', b'\x01'):
        raise ValueError('the authority refused')
    token = response.inside(SEQUENCE)
    response.end()
    if token.take(OID) != bytes.fromhex('2a864886f70d010702'):
        raise ValueError('it holds no signed data')
    signed = token.inside(EXPLICIT_0).inside(SEQUENCE)
    signed.take(INTEGER)
    signed.take(SET)
    content = signed.inside(SEQUENCE)
    if content.take(OID) != bytes.fromhex('2a864886f70d0109100104'):
        raise ValueError('what is signed is no time stamp')
    octets = content.inside(EXPLICIT_0).inside(OCTETS)
    info = octets.inside(SEQUENCE)
    octets.end()
    if info.take(INTEGER) != b'\x01':
        raise ValueError('its version is another one')
    info.take(OID)
    imprint = info.inside(SEQUENCE)
    algorithm, digest = imprint.take(SEQUENCE), imprint.take(OCTETS)
    imprint.end()
    info.take(INTEGER)
    time = info.take(TIME).decode('ascii')
    match = re.fullmatch(r'(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\.\d{1,9})?Z', time, re.ASCII)
    if not match or algorithm not in (SHA_256, SHA_256 + b'\x05\x00') or len(digest) != 32:
        raise ValueError('it is not about a SHA-256, or has no time')
    return digest, '%s-%s-%sT%s:%s:%s' % match.groups()[:6] + '.%sZ' % ((match[7] or '.')[1:] + '000000')[:6]


# -- opened details

class Details:
    def __init__(self, lines):
        self.lines, self.least, self.opened, self.finding = lines, 0, 0, None
        self.advance()

    def advance(self):
        self.next = self.broken = None
        line = next(self.lines, None)
        if line is None:
            return
        try:
            if len(line) > OPENING_BYTES_MAX:
                raise ValueError('too long')
            opening = read_strict(line)
            if not isinstance(opening, dict) or set(opening) != {'detail', 'salt', 'seq'}:
                raise ValueError('other fields')
            plain = isinstance(opening['detail'], dict) and isinstance(opening['salt'], str)
            number = isinstance(opening['seq'], int) and not isinstance(opening['seq'], bool) and opening['seq'] >= 0
            if not plain or not number or not re.fullmatch('[0-9a-f]{64}', opening['salt'], re.ASCII):
                raise ValueError('other fields')
            self.next = opening
        except ValueError as error:
            self.broken = str(error)

    def compare(self, seq, line):
        while self.next and self.next['seq'] <= seq and not self.finding:
            opening = self.next
            if opening['seq'] < max(seq, self.least) or not fits(opening, line):
                self.finding = Finding(opening['seq'], 'detail-mismatch',
                                       'the opened detail is not the one that the entry commits to')
            else:
                self.opened += 1
            self.least = seq + 1
            self.advance()

    def end(self):
        if self.finding:
            raise self.finding
        if self.next:
            raise Finding(self.next['seq'], 'detail-mismatch', 'there is no entry for this opened detail')
        if self.broken:
            raise Finding(self.opened, 'detail-mismatch', 'an opened detail cannot be read: %s' % self.broken)


def count_commitment(line, commitments, erased):
    """Counts the details that entries commit to by their subjects, and collects who was erased."""
    if b'"det":"' not in line and b'"kind":"erasure"' not in line:
        return
    entry = json.loads(line)
    if 'det' in entry:
        commitments[entry.get('subj')] = commitments.get(entry.get('subj'), 0) + 1
    if entry.get('kind') == 'erasure':
        erased.add(entry.get('subj'))


def fits(opening, line):
    detail = json.dumps(opening['detail'], sort_keys=True, separators=(',', ':'), ensure_ascii=False).encode()
    message = b'medseal-detail-v1\x00%d\x00' % opening['seq'] + detail
    commitment = hmac.new(bytes.fromhex(opening['salt']), message, hashlib.sha256).hexdigest()
    return read_strict(line).get('det') == commitment


# -- the folder

def read_lines(paths, bytes_max):
    for path in paths:
        with open(path, 'rb') as file:
            while True:
                line = file.readline(bytes_max + 1)
                if not line:
                    break
                yield line[:-1] if line.endswith(b'\n') else line


def read_small(folder, name, bytes_max=NOTE_BYTES_MAX):
    try:
        with open(os.path.join(folder, name), 'rb') as file:
            return file.read(bytes_max + 1)
    except (FileNotFoundError, NotADirectoryError):
        return b''


def check_earlier(folder, found, signed, key, lines, bad):
    """The checkpoints that the log signed earlier are of these entries, and each stamp is over the note beside it."""
    past, stamped = {}, set()
    for name in sorted(found):
        match = EARLIER.fullmatch(name)
        if not match and not name.startswith(('checkpoints/', 'stamps/')):
            continue
        size = int(match[1] or match[2]) if match else signed.size + 1
        note = 'stamps/%d.note' % size if match and match[2] else name
        try:
            earlier = open_note(read_small(folder, note), [key])[0]
        except Refused:
            earlier = None
        if not match or not earlier or earlier.size != size or size > signed.size - bool(match[1]):
            bad('the file %s is not about an earlier checkpoint of this log' % name)
        past.setdefault(size, set()).add((note, earlier.root))
        stamped.update([size] if match[2] else [])
    stamps = []
    for size in sorted(stamped):
        try:
            imprint, time = read_stamp(read_small(folder, 'stamps/%d.tsr' % size, STAMP_BYTES_MAX))
        except ValueError:
            imprint = time = None
        if imprint != sha256(read_small(folder, 'stamps/%d.note' % size)):
            bad('the file stamps/%d.tsr is not a time stamp over stamps/%d.note' % (size, size))
        stamps.append({'entries': size, 'at': time})
    tree = Tree()
    for line in lines if past else []:
        tree.push(sha256(b'\x00' + line))
        if tree.size in past:
            root = tree.root()
            past[tree.size] = {one for one in past[tree.size] if one[1] != root}
    for size in sorted(past):
        for name, _ in sorted(past[size]):
            bad('the entries are not those of %s, although the log\'s key signed both: keep this export, it is a proof'
                % name)
    return stamps


EARLIER = re.compile(r'checkpoints/(0|[1-9][0-9]{0,19})|stamps/(0|[1-9][0-9]{0,19})\.(?:note|tsr)', re.ASCII)


def check_files(folder, entries, expected, signed, key, lines, first):
    """Every file is named in SHA256SUMS with its digest, and the files that repeat others say the same."""
    def bad(message):
        raise Finding(entries, 'bad-file', message)

    for name, content in expected.items():
        if read_small(folder, name) != content:
            bad('the file %s is not what the checkpoint and the key say' % name)
    is_range = os.path.lexists(os.path.join(folder, 'range'))
    tiled = set()
    for name, content in () if is_range else tiles(lines()):
        if read_small(folder, name, len(content)) != content:
            bad('the tiles as far as %s are not those of the entries' % name)
        tiled.add(name)
    found = set()
    for parent, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(parent, name)
            if os.path.islink(path) or not (os.path.isfile(path) or os.path.isdir(path)):
                bad('there is something that is neither a file nor a folder')
        found.update(os.path.relpath(os.path.join(parent, name), folder) for name in files)
    check_proofs(folder, found, first, lines(), signed, bad)
    stamps = [] if is_range else check_earlier(folder, found, signed, key, lines(), bad)
    if {name for name in found if name.startswith('tile/')} != tiled:
        bad('there is a tile that the entries do not have')
    for name in found if is_range else ():
        if name not in RANGE_FILES and not ENTRIES.fullmatch(name) and not PROOF.fullmatch(name):
            bad('a range has no file %s' % name)
    sums = {}
    try:
        text = read_small(folder, 'SHA256SUMS', SUMS_BYTES_MAX).decode()
        for line in text.splitlines(keepends=True):
            match = re.fullmatch('([0-9a-f]{64})  ([^\n]+)\n', line, re.ASCII)
            if not match or match[2] in sums:
                raise ValueError('a line is malformed')
            sums[match[2]] = match[1]
    except ValueError:
        bad('the file SHA256SUMS is malformed')
    if found != set(sums) | {'SHA256SUMS'}:
        bad('the folder does not hold exactly the files that SHA256SUMS names')
    for name, digest in sums.items():
        state = hashlib.sha256()
        with open(os.path.join(folder, name), 'rb') as file:
            for piece in iter(lambda: file.read(1 << 20), b''):
                state.update(piece)
        if state.hexdigest() != digest:
            bad('the file %s is not the one that SHA256SUMS names' % name)
    return stamps


def read_key(text):
    """A key, or the first line of a file that holds one."""
    if os.path.exists(text):
        with open(text, encoding='utf-8') as file:
            text = file.read().split('\n')[0]
    return Key(text)


def verify(folder, given_key, trusted_note, report):
    keys = [given_key] if given_key else []
    if not keys:
        try:
            lines = read_small(folder, 'log.vkey').decode().split('\n')
            keys = [Key(lines[0])] if lines[1:] == [''] else []
        except (ValueError, Refused):
            keys = []
        report['self_asserted'] = trusted_note is None
    signed = refusal = trusted = None
    counted = body = None
    try:
        signed, body, counted = open_note(read_small(folder, 'checkpoint'), keys)
        report['origin'] = signed.origin
    except Refused as error:
        refusal = str(error)
    if trusted_note is not None:
        trusted = open_note(trusted_note, keys)[0] if keys else None
    names = sorted(name for name in os.listdir(folder) if ENTRIES.fullmatch(name))
    paths = [os.path.join(folder, name) for name in names]
    lines = read_lines(paths, LEAF_BYTES_MAX)
    details_file = os.path.join(folder, 'details.jsonl')
    details = Details(read_lines([details_file] if os.path.exists(details_file) else [], OPENING_BYTES_MAX))
    first, end = 0, signed
    walk = Walk(signed, trusted)
    if os.path.lexists(os.path.join(folder, 'range')):
        first, before, tree, end = read_range(folder, keys)
        if trusted and not first <= trusted.size <= end.size:
            raise Refused('a range shows nothing about a checkpoint outside it: ask for the whole log')
        walk = Walk(end, trusted)
        walk.seq, walk.tree, walk.before = first, tree, before
        report['range'] = {'first': first, 'last': end.size - 1}
    commitments, erased = {}, set()
    try:
        for line in lines:
            walk.step(line, lines)
            count_commitment(line, commitments, erased)
            details.compare(walk.seq - 1, line)
        walk.finish()
        compare(walk, end, refusal, trusted)
        details.end()
    finally:
        report['entries'], report['details'] = walk.seq - first, details.opened
        report['root'] = walk.tree.root().hex()
    key, signature = counted
    stamps = check_files(folder, walk.seq, {
        'checkpoint.body': body,
        'checkpoint.sig': signature,
        'keys/log.pem': key.pem().encode(),
        'log.vkey': key.text.encode() + b'\n',
        'policy': b'log %s\nquorum none\n' % key.text.encode(),
    }, signed, key, lambda: read_lines(paths, LEAF_BYTES_MAX), first)
    report['erased'] = sum(count for subject, count in commitments.items() if subject in erased)
    report['sealed'] = max(sum(commitments.values()) - report['erased'] - report['details'], 0)
    report['key'] = key.text
    if stamps:
        report['stamps'] = stamps


def main():
    parser = argparse.ArgumentParser(description='Verifies an export of a medseal log.')
    parser.add_argument('folder', nargs='?', default=os.path.dirname(os.path.abspath(__file__)))
    parser.add_argument('--key', help='the log\'s key, or a file that holds it')
    parser.add_argument('--trusted-checkpoint', metavar='FILE', help='a checkpoint that you kept from earlier')
    parser.add_argument('--json', action='store_true', help='print one JSON object')
    options = parser.parse_args()
    report = {'ok': True, 'entries': 0, 'details': 0, 'root': None, 'self_asserted': False}
    try:
        given = read_key(options.key) if options.key else None
        trusted = None
        if options.trusted_checkpoint:
            with open(options.trusted_checkpoint, 'rb') as file:
                trusted = file.read(NOTE_BYTES_MAX + 1)
        verify(options.folder, given, trusted, report)
    except Finding as finding:
        report['ok'] = False
        report['finding'] = {'seq': finding.seq, 'kind': finding.kind, 'message': finding.message}
    except (OSError, Refused) as error:
        print('verify.py: %s' % error, file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(report, sort_keys=True))
    elif report['ok']:
        if report['self_asserted']:
            print('NOT VOUCHED FOR: this folder agrees with itself, and that is all; whoever made it chose the key.')
        print('%s: %d entries of the log %s, root %s'
              % ('SOUND' if report['self_asserted'] else 'OK', report['entries'], report['origin'], report['root']))
        if 'range' in report:
            print('    This is a range of the log, entries %(first)d to %(last)d: nothing is said of the others'
                  % report['range'])
        for stamp in report.get('stamps', []):
            print('    A time stamp says that %(entries)d entries existed at %(at)s (its authority: openssl ts -verify)'
                  % stamp)
        if report['details'] or report['sealed'] or report['erased']:
            print('    Details: %(details)d opened and fit their entries, %(sealed)d sealed, %(erased)d erased' % report)
        if report['self_asserted']:
            print('    Say --key KEY, or compare the export\'s own key with the institution\'s card:')
            print('    %s' % report['key'])
            print('    fingerprint %s' % sha256(report['key'].encode()).hex())
    else:
        finding = report['finding']
        print('BAD: %s at entry %d: %s' % (finding['kind'], finding['seq'], finding['message']))
    if not report['ok']:
        return 1
    return 3 if report['self_asserted'] else 0


if __name__ == '__main__':
    sys.exit(main())
