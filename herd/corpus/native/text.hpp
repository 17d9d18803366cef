// UTF-8 text and small tools every kernel uses.
#pragma once
#include <cstdint>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

namespace herd {

using std::string_view;

// A code point and how many bytes it takes; malformed bytes count as U+FFFD, one byte each.
struct Rune {
  uint32_t code;
  int bytes;
};

inline Rune rune_at(string_view s, size_t i) {
  auto byte = [&](size_t k) { return static_cast<uint8_t>(s[k]); };
  uint8_t a = byte(i);
  if (a < 0x80) return {a, 1};
  size_t left = s.size() - i;
  auto tail = [&](size_t k) { return k < left && (byte(i + k) & 0xC0) == 0x80; };
  if (a >= 0xC2 && a < 0xE0 && tail(1)) return {uint32_t(a & 31) << 6 | (byte(i + 1) & 63), 2};
  if (a >= 0xE0 && a < 0xF0 && tail(1) && tail(2)) {
    uint32_t c = uint32_t(a & 15) << 12 | uint32_t(byte(i + 1) & 63) << 6 | (byte(i + 2) & 63);
    if (c >= 0x800 && (c < 0xD800 || c > 0xDFFF)) return {c, 3};
  }
  if (a >= 0xF0 && a < 0xF5 && tail(1) && tail(2) && tail(3)) {
    uint32_t c = uint32_t(a & 7) << 18 | uint32_t(byte(i + 1) & 63) << 12 | uint32_t(byte(i + 2) & 63) << 6 |
                 (byte(i + 3) & 63);
    if (c >= 0x10000 && c <= 0x10FFFF) return {c, 4};
  }
  return {0xFFFD, 1};
}

inline void put_rune(std::string& out, uint32_t c) {
  if (c < 0x80) {
    out += char(c);
  } else if (c < 0x800) {
    out += char(0xC0 | c >> 6);
    out += char(0x80 | (c & 63));
  } else if (c < 0x10000) {
    out += char(0xE0 | c >> 12);
    out += char(0x80 | (c >> 6 & 63));
    out += char(0x80 | (c & 63));
  } else {
    out += char(0xF0 | c >> 18);
    out += char(0x80 | (c >> 12 & 63));
    out += char(0x80 | (c >> 6 & 63));
    out += char(0x80 | (c & 63));
  }
}

// The first byte that is not UTF-8, or the length of the text.
inline size_t utf8_prefix(string_view s) {
  size_t i = 0;
  while (i < s.size()) {
    uint64_t word;
    while (i + 8 <= s.size() && (std::memcpy(&word, s.data() + i, 8), !(word & 0x8080808080808080ull))) i += 8;
    if (i >= s.size()) break;
    Rune r = rune_at(s, i);
    if (r.code == 0xFFFD && r.bytes == 1) return i;
    i += size_t(r.bytes);
  }
  return s.size();
}

inline bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
inline char lower(char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; }
inline bool is_alpha(char c) { return lower(c) >= 'a' && lower(c) <= 'z'; }

inline bool same_word(string_view text, string_view lowered) {
  if (text.size() != lowered.size()) return false;
  for (size_t i = 0; i < text.size(); ++i)
    if (lower(text[i]) != lowered[i]) return false;
  return true;
}

// Seconds of this thread's own work: a busy machine must not cost documents.
inline double cpu_seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

// Many texts in one buffer, as Arrow's large_string lays them out.
struct Texts {
  const char* data;
  const int64_t* offsets;
  int64_t count;
  string_view operator[](int64_t i) const {
    return {data + offsets[i], size_t(offsets[i + 1] - offsets[i])};
  }
};

// A column of texts that is being made.
struct Column {
  std::string data;
  std::vector<int64_t> offsets{0};
  void end() { offsets.push_back(int64_t(data.size())); }
  void add(string_view text) {
    data.append(text);
    end();
  }
};

}  // namespace herd
