"""Random numbers for compiled samplers: a stream of its own for every sample, a function of (seed, index) alone."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, UInt64
from numba import njit

_MASK = (1 << 64) - 1
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
# Words of pi, so that the two hashes of a pair are unlike each other.
_OTHER = np.uint64(0x243F6A8885A308D3)


@njit
def _mix(z: np.uint64) -> np.uint64:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014), a bijection of 64 bits."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit
def open_stream(seed: np.uint64, index: np.uint64, state: UInt64[np.ndarray, "4"]) -> None:
    """Set the state of a stream from two hashes of 64 bits, so that 2^64 pairs collide with odds of 2^-1."""
    first = _mix(_mix(seed + _GOLDEN) + index)
    second = _mix(_mix(index ^ _OTHER) + seed)
    state[0], state[1] = _mix(first + _GOLDEN), _mix(first + _GOLDEN + _GOLDEN)
    state[2], state[3] = _mix(second + _GOLDEN), _mix(second + _GOLDEN + _GOLDEN)


@njit
def next_word(state: UInt64[np.ndarray, "4"]) -> np.uint64:
    """The next 64 random bits: xoshiro256++ (Blackman and Vigna 2021), of period 2^256 - 1."""
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    total = s0 + s3
    word = ((total << np.uint64(23)) | (total >> np.uint64(41))) + s0
    s2 ^= s0
    s3 ^= s1
    state[1] = s1 ^ s2
    state[0] = s0 ^ s3
    state[2] = s2 ^ (s1 << np.uint64(17))
    state[3] = (s3 << np.uint64(45)) | (s3 >> np.uint64(19))
    return word


@njit
def next_uniform(state: UInt64[np.ndarray, "4"]) -> float:
    """The next number, uniform in [0, 1) in steps of 2^-53."""
    return np.float64(next_word(state) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit
def _fill(seed: np.uint64, index: UInt64[np.ndarray, "n"], out: Float[np.ndarray, "n count"]) -> None:
    state = np.empty(4, dtype=np.uint64)
    for i in range(len(index)):
        open_stream(seed, index[i], state)
        for k in range(out.shape[1]):
            out[i, k] = next_uniform(state)


def stream_keys(index: Int[np.ndarray, "n"], seed: int) -> tuple[np.uint64, UInt64[np.ndarray, "n"]]:
    """Seed and indices as ``open_stream`` takes them; what is negative or too long is taken modulo 2^64."""
    return np.uint64(int(seed) & _MASK), np.asarray(index).astype(np.int64).astype(np.uint64)


def uniforms(index: Int[np.ndarray, "n"], seed: int, *, count: int) -> Float[np.ndarray, "n count"]:
    """The first ``count`` numbers of each sample's stream, uniform in [0, 1)."""
    key, indices = stream_keys(index, seed)
    out = np.empty((len(indices), count))
    _fill(key, indices, out)
    return out
