//! MD5 (RFC 1321) of several messages side by side.
//!
//! Within one message every step waits for the one before, so a core is idle for most of it; and there is no way to make one message
//! quicker. Here each vector instruction does a step of four messages, and two independent vectors fill the gaps: some five times the
//! bytes a second of one message after the other, without more than the vector instructions every x86-64 and every 64-bit ARM has.

use wide::u32x4;

/// Messages side by side.
pub(super) const LANES: usize = VECTORS * 4;
const VECTORS: usize = 2;
const BLOCK: usize = 64;

/// A word of each lane.
type Words = [u32x4; VECTORS];
/// The four words of each lane's state.
type State = [[u32; LANES]; 4];

const INITIAL: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// The integer parts of 2^32 × |sin(i + 1)|.
const SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

/// Gives the digest of every message by its index, in no particular order. Leaves the messages with their padding.
pub(super) fn digests(messages: &mut [Vec<u8>], mut found: impl FnMut(usize, [u8; 16])) {
    messages.iter_mut().for_each(pad);
    let mut state: State = Default::default();
    // For each lane a message and how far it is.
    let mut lanes: [Option<(usize, usize)>; LANES] = [None; LANES];
    let mut next = 0;
    loop {
        for (lane, place) in lanes.iter_mut().enumerate() {
            if place.is_none() && next < messages.len() {
                *place = Some((next, 0));
                next += 1;
                state.iter_mut().zip(INITIAL).for_each(|(words, initial)| words[lane] = initial);
            }
        }
        let left = |&(message, at): &(usize, usize)| messages[message].len() - at;
        let Some(shortest) = lanes.iter().flatten().min_by_key(|place| left(place)) else { return };
        let len = left(shortest);
        // An idle lane does what another does, for nobody.
        let rest = |place: &Option<(usize, usize)>| {
            let (message, at) = place.unwrap_or(*shortest);
            &messages[message][at..at + len]
        };
        run(&mut state, lanes.each_ref().map(rest));
        for (lane, place) in lanes.iter_mut().enumerate() {
            let Some((message, at)) = place else { continue };
            *at += len;
            if *at == messages[*message].len() {
                found(*message, digest(&state, lane));
                *place = None;
            }
        }
    }
}

/// Appends a one bit, zeros, and the length in bits, up to a whole number of blocks.
fn pad(message: &mut Vec<u8>) {
    let bits = (message.len() as u64).wrapping_mul(8);
    message.push(0x80);
    let whole = (message.len() + 8).next_multiple_of(BLOCK);
    message.resize(whole - 8, 0);
    message.extend_from_slice(&bits.to_le_bytes());
}

fn digest(state: &State, lane: usize) -> [u8; 16] {
    let mut digest = [0; 16];
    for (bytes, words) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&words[lane].to_le_bytes());
    }
    digest
}

/// Goes on with the same number of whole blocks in each lane.
fn run(state: &mut State, lanes: [&[u8]; LANES]) {
    let mut words: [Words; 4] = std::array::from_fn(|word| {
        std::array::from_fn(|vector| u32x4::new(std::array::from_fn(|lane| state[word][vector * 4 + lane])))
    });
    for at in (0..lanes[0].len()).step_by(BLOCK) {
        compress(&mut words, &lanes.map(|lane| &lane[at..at + BLOCK]));
    }
    for (word, vectors) in state.iter_mut().zip(words) {
        for (lanes, vector) in word.chunks_exact_mut(4).zip(vectors) {
            lanes.copy_from_slice(&vector.to_array());
        }
    }
}

#[inline(always)]
fn each(of: impl Fn(usize) -> u32x4) -> Words {
    std::array::from_fn(of)
}

/// Word `index` of each lane's block.
#[inline(always)]
fn load(blocks: &[&[u8]; LANES], index: usize) -> Words {
    let word = |lane: usize| {
        let four = &blocks[lane][index * 4..index * 4 + 4];
        u32::from_le_bytes([four[0], four[1], four[2], four[3]])
    };
    each(|vector| u32x4::new(std::array::from_fn(|lane| word(vector * 4 + lane))))
}

#[inline(always)]
fn compress(state: &mut [Words; 4], blocks: &[&[u8]; LANES]) {
    let words: [Words; 16] = std::array::from_fn(|index| load(blocks, index));
    let before = *state;
    round::<0, 7, 12, 17, 22>(state, &words, |i| i, |b, c, d| d ^ (b & (c ^ d)));
    round::<1, 5, 9, 14, 20>(state, &words, |i| 5 * i + 1, |b, c, d| c ^ (d & (b ^ c)));
    round::<2, 4, 11, 16, 23>(state, &words, |i| 3 * i + 5, |b, c, d| b ^ c ^ d);
    round::<3, 6, 10, 15, 21>(state, &words, |i| 7 * i, |b, c, d| c ^ (b | !d));
    for (after, before) in state.iter_mut().zip(before) {
        *after = each(|vector| after[vector] + before[vector]);
    }
}

/// Sixteen steps: which word comes at step `i` (modulo 16) and how three words of the state are mixed is the round's.
#[inline(always)]
fn round<const ROUND: usize, const S0: u32, const S1: u32, const S2: u32, const S3: u32>(
    [a, b, c, d]: &mut [Words; 4],
    words: &[Words; 16],
    word: impl Fn(usize) -> usize,
    mix: impl Fn(u32x4, u32x4, u32x4) -> u32x4,
) {
    for i in (0..16).step_by(4) {
        let input = |step: usize| (words[word(i + step) % 16], SINES[ROUND * 16 + i + step]);
        step::<S0>(a, b, c, d, input(0), &mix);
        step::<S1>(d, a, b, c, input(1), &mix);
        step::<S2>(c, d, a, b, input(2), &mix);
        step::<S3>(b, c, d, a, input(3), &mix);
    }
}

#[inline(always)]
fn step<const SHIFT: u32>(
    a: &mut Words,
    b: &Words,
    c: &Words,
    d: &Words,
    (word, sine): (Words, u32),
    mix: impl Fn(u32x4, u32x4, u32x4) -> u32x4,
) {
    *a = each(|v| {
        let sum = a[v] + mix(b[v], c[v], d[v]) + word[v] + u32x4::splat(sine);
        b[v] + ((sum << SHIFT) | (sum >> (32 - SHIFT)))
    });
}

#[cfg(test)]
mod tests {
    use md5::{Digest, Md5};
    use proptest::prelude::*;

    fn all(mut messages: Vec<Vec<u8>>) -> Vec<Option<[u8; 16]>> {
        let mut digests = vec![None; messages.len()];
        super::digests(&mut messages, |index, digest| assert_eq!(digests[index].replace(digest), None, "told twice"));
        digests
    }

    #[test]
    fn lengths_about_a_block_are_padded_right() {
        let messages: Vec<Vec<u8>> = (0..200).map(|len| (0..len).map(|at| (at * 31 + len) as u8).collect()).collect();
        let expected: Vec<_> = messages.iter().map(|message| Some(Md5::digest(message).into())).collect();
        assert_eq!(all(messages), expected);
        assert_eq!(all(Vec::new()), []);
    }

    proptest! {
        #[test]
        fn digests_are_those_of_one_message_after_the_other(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..700), 0..40),
        ) {
            let expected: Vec<_> = messages.iter().map(|message| Some(Md5::digest(message).into())).collect();
            prop_assert_eq!(all(messages), expected);
        }
    }
}
