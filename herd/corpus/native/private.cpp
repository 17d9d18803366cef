#include "private.hpp"

#include <algorithm>
#include <array>

namespace herd {
namespace {

constexpr size_t kLongestKey = 512;  // of a key's characters are looked at

bool is_local(char c) {
  return is_alpha(c) || is_digit(c) || (c && std::strchr("!#$%&'*+/=?^_`{|}~-.", c) != nullptr);
}
bool is_label(char c) { return is_alpha(c) || is_digit(c) || c == '-'; }
bool is_word_byte(char c) { return is_alpha(c) || is_digit(c) || c == '_' || uint8_t(c) >= 0x80; }

class Finder {
 public:
  Finder(string_view text, std::vector<Secret>& out) : text_(text), out_(out) {}

  void run() {
    for (size_t i = 0; i < text_.size(); ++i) {
      char c = text_[i];
      if (c == '@') {
        email(i);
      } else if (is_digit(c) || c == '+' || c == '(') {
        if (!number(i) && is_digit(c)) {
          // The rest of these digits starts nothing of its own, but letters after them may.
          while (i + 1 < text_.size() && is_digit(text_[i + 1])) ++i;
        }
      } else if (c == ':' && i + 1 < text_.size()) {
        address6(i);
      } else if (key_starts(c)) {
        key(i);
      }
      if (!out_.empty() && out_.back().end > i + 1) i = out_.back().end - 1;
    }
  }

 private:
  char at(size_t i) const { return i < text_.size() ? text_[i] : '\0'; }
  size_t last_end() const { return out_.empty() ? 0 : out_.back().end; }

  bool add(size_t begin, size_t end, Private kind) {
    while (!out_.empty() && out_.back().end > begin) {
      if (out_.back().begin < begin) return false;
      out_.pop_back();
    }
    out_.push_back({begin, end, kind});
    return true;
  }

  // ---- e-mail (RFC 5322's dot-atom and a domain of two labels or more) ----

  void email(size_t sign) {
    size_t begin = sign;
    while (begin > 0 && sign - begin < 64 && is_local(text_[begin - 1])) --begin;
    while (begin < sign && !is_alpha(text_[begin]) && !is_digit(text_[begin]) && text_[begin] != '_') ++begin;
    if (begin == sign || text_[sign - 1] == '.') return;
    size_t end = sign + 1, dots = 0, label = end;
    while (end < text_.size() && (is_label(text_[end]) || (text_[end] == '.' && end > label && is_label(at(end + 1))))) {
      if (text_[end] == '.') ++dots, label = end + 1;
      ++end;
    }
    while (end > label && text_[end - 1] == '-') --end;
    bool top = end - label >= 2 && is_alpha(text_[label]);
    if (dots && top) add(begin, end, kEmail);
  }

  // ---- IP addresses ----

  static bool is_public(const std::array<int, 4>& ip) {
    auto [a, b, c, d] = ip;
    (void)d;
    if (a == 0 || a == 10 || a == 127 || a >= 224) return false;
    if (a == 100 && b >= 64 && b < 128) return false;
    if (a == 169 && b == 254) return false;
    if (a == 172 && b >= 16 && b < 32) return false;
    if (a == 192 && (b == 168 || (b == 0 && (c == 0 || c == 2)) || (b == 88 && c == 99))) return false;
    if (a == 198 && (b == 18 || b == 19 || (b == 51 && c == 100))) return false;
    return !(a == 203 && b == 0 && c == 113);
  }

  // The length of a public IPv4 address at i; 0 for none. Versions and longer dotted numbers are none.
  size_t address4(size_t i) const {
    if (i > 0 && (is_digit(text_[i - 1]) || is_word_byte(text_[i - 1]) || (text_[i - 1] == '.' && i > 1 && is_digit(text_[i - 2]))))
      return 0;
    std::array<int, 4> ip{};
    size_t end = i;
    for (int k = 0; k < 4; ++k) {
      int value = 0, digits = 0;
      while (is_digit(at(end)) && digits < 3) value = value * 10 + (text_[end] - '0'), ++end, ++digits;
      if (!digits || value > 255) return 0;
      ip[size_t(k)] = value;
      if (k < 3 && at(end++) != '.') return 0;
    }
    if (is_digit(at(end)) || is_word_byte(at(end)) || (at(end) == '.' && is_digit(at(end + 1)))) return 0;
    if (says_version(i)) return 0;
    return is_public(ip) ? end - i : 0;
  }

  bool says_version(size_t i) const {
    size_t from = i > 12 ? i - 12 : 0;
    std::string before;
    for (char c : text_.substr(from, i - from)) before += lower(c);
    while (!before.empty() && is_space(before.back())) before.pop_back();
    auto ends = [&](string_view what) {
      return before.size() >= what.size() && before.compare(before.size() - what.size(), what.size(), what) == 0;
    };
    return ends("version") || ends("v.") || ends("release") || ends("section");
  }

  // A global IPv6 address (2000::/3 without the documentation's 2001:db8::/32) around the colon at i.
  void address6(size_t colon) {
    auto part = [](char c) { return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'f') || c == ':'; };
    size_t begin = colon, end = colon;
    while (begin > last_end() && colon - begin < 5 && part(text_[begin - 1])) --begin;
    while (end < text_.size() && end - begin < 40 && part(text_[end])) ++end;
    if ((begin > 0 && is_word_byte(text_[begin - 1])) || is_word_byte(at(end))) return;
    while (end > begin && text_[end - 1] == ':') --end;
    string_view ip = text_.substr(begin, end - begin);
    int groups = 0, digits = 0;
    bool gap = false;
    for (size_t i = 0; i < ip.size(); ++i) {
      if (ip[i] == ':') {
        if (i + 1 < ip.size() && ip[i + 1] == ':') {
          if (gap) return;
          gap = true;
        }
        digits = 0;
      } else {
        if (digits == 0) ++groups;
        if (++digits > 4) return;
      }
    }
    if (groups > 8 || (groups < 8 && !gap) || groups < 3) return;
    if (ip[0] != '2' && ip[0] != '3') return;
    if (ip.size() > 8 && same_word(ip.substr(0, 9), "2001:db8:")) return;
    size_t first = ip.find(':');
    if (first != 4) return;
    add(begin, end, kAddress4);
  }

  // ---- phone numbers ----

  bool number(size_t i) {
    if (is_digit(text_[i])) {
      if (size_t length = address4(i)) return add(i, i + length, kAddress4);
    }
    if (size_t length = phone(i)) return add(i, i + length, kPhone);
    return false;
  }

  // +49 30 1234567, (415) 555-0123, 415-555-0123, 030 / 1234567. Separators make a number a phone's; runs of
  // digits alone are ids. Dates, amounts and ISBNs have other shapes.
  size_t phone(size_t i) const {
    char first = text_[i];
    if (i > 0 && (is_word_byte(text_[i - 1]) || text_[i - 1] == '.' || text_[i - 1] == '-' || text_[i - 1] == '/' ||
                  text_[i - 1] == '$' || text_[i - 1] == '#' || text_[i - 1] == '='))
      return 0;
    bool international = first == '+';
    std::vector<int> groups;
    std::string separators;
    int digits = 0, run = 0, open = 0;
    size_t end = i, last = i;
    if (international) ++end;
    for (; end < text_.size() && end - i < 24; ++end) {
      char c = text_[end];
      if (is_digit(c)) {
        ++digits, ++run;
        last = end + 1;
        continue;
      }
      if (c == '(') ++open;
      if (c == ')' && --open < 0) break;
      bool separator = c == ' ' || c == '-' || c == '.' || c == '/' || c == '(' || c == ')';
      if (!separator) break;
      if (run) groups.push_back(run), separators += c;
      run = 0;
      char next = at(end + 1);
      bool pair = (c == ')' && (next == ' ' || next == '-')) || (c == ' ' && (next == '(' || next == '/' || next == '-')) ||
                  ((c == '/' || c == '-') && next == ' ');
      if (!is_digit(next) && !pair && next != '(') break;
    }
    if (run) groups.push_back(run);
    if (is_word_byte(at(last))) return 0;
    if (groups.empty() || digits > 15) return 0;
    size_t length = last - i;
    if (international) {
      if (digits < 8 || text_[i + 1] == '0') return 0;
      return length;
    }
    bool north_american = digits == 10 && groups.size() == 3 && groups[0] == 3 && groups[1] == 3 && groups[2] == 4;
    bool with_one = digits == 11 && groups.size() == 4 && text_[i] == '1' && groups[0] == 1 && groups[3] == 4;
    if ((north_american || with_one) && text_[i] != '0') return length;
    bool trunk = (first == '0' || (first == '(' && at(i + 1) == '0')) && digits >= 9 && digits <= 12 && groups.size() >= 2 &&
                 groups[0] >= 2 && groups[0] <= 6 && groups.back() >= 2;
    if (trunk && separators.find('.') == std::string::npos) return length;
    if (trunk && groups.size() >= 4 && groups[0] == 2) return length;  // 01.23.45.67.89
    return 0;
  }

  // ---- keys ----

  static bool key_starts(char c) { return c == 'A' || c == 'g' || c == 's' || c == 'x' || c == 'e' || c == 'h' || c == 'n' || c == 'S' || c == '-' || c == 'p' || c == 'a' || c == 't' || c == 'P' || c == 'T' || c == 'r' || c == 'k'; }

  static bool is_token(char c) { return is_alpha(c) || is_digit(c) || c == '_' || c == '-'; }

  // Where a run of such bytes ends; the last one of each kind is remembered, so that many starts inside of a long
  // one do not walk through it again.
  template <typename Holds>
  size_t run_end(size_t kind, size_t from, Holds holds) {
    auto& [begin, end] = runs_[kind];
    if (from >= begin && from < end) return end;
    begin = end = from;
    while (end < text_.size() && holds(text_[end])) ++end;
    return end;
  }
  size_t token_end(size_t from, bool dots = false) {
    return run_end(dots, from, [dots](char c) { return is_token(c) || (dots && c == '.'); });
  }

  void key(size_t i) {
    if (i > 0 && is_word_byte(text_[i - 1]) && text_[i] != '-') return;
    // The makers' own prefixes, and how many characters follow at least; Amazon's, all capitals, may hold one digit.
    struct Shape {
      string_view prefix;
      size_t least;
      int32_t digits = 2;
    };
    static const Shape shapes[] = {{"AKIA", 16, 1}, {"ASIA", 16, 1}, {"AIza", 35}, {"ghp_", 36}, {"gho_", 36},
                                   {"ghs_", 36}, {"ghu_", 36}, {"ghr_", 36}, {"github_pat_", 22}, {"glpat-", 20},
                                   {"sk-", 20}, {"sk_live_", 16}, {"sk_test_", 16}, {"rk_live_", 16}, {"pk_live_", 16},
                                   {"xoxb-", 20}, {"xoxp-", 20}, {"xoxa-", 20}, {"xoxs-", 20}, {"hf_", 30},
                                   {"npm_", 30}, {"SG.", 40}, {"pypi-", 40}, {"eyJ", 60}};
    string_view rest = text_.substr(i);
    for (const Shape& shape : shapes) {
      if (rest.substr(0, shape.prefix.size()) != shape.prefix) continue;
      bool dots = shape.prefix == "SG." || shape.prefix == "eyJ";
      size_t from = i + shape.prefix.size(), end = token_end(from, dots);
      if (end - from >= shape.least && mixed(from, end, shape.digits)) {
        add(i, end, kKey);
        return;
      }
    }
    if (rest.substr(0, 11) == "-----BEGIN ") {
      size_t close = rest.substr(0, 76).find("PRIVATE KEY-----");
      if (close != rest.npos && close < 60) {
        size_t end = no_end_ ? rest.npos : rest.find("-----END ", close);
        no_end_ = end == rest.npos;
        size_t stop = end == rest.npos ? std::min(rest.size(), close + 16) : rest.find("-----", end + 9);
        add(i, stop == rest.npos ? text_.size() : std::min(text_.size(), i + stop + 5), kKey);
      }
      return;
    }
    named_key(i);
  }

  // api_key = "…", token: …, password=…: a value of mixed characters after a telling name.
  void named_key(size_t i) {
    static const string_view names[] = {"api_key", "apikey", "api-key", "secret_key", "secret-key", "secretkey",
                                        "access_token", "access-token", "auth_token", "auth-token", "authtoken",
                                        "access_key", "access-key", "secret", "token", "private_key", "password"};
    for (string_view name : names) {
      if (!same_word(text_.substr(i, name.size()), name)) continue;
      size_t from = i + name.size();
      if (at(from) == '"' || at(from) == '\'') ++from;
      while (at(from) == ' ') ++from;
      if (at(from) != '=' && at(from) != ':') return;
      ++from;
      while (at(from) == ' ') ++from;
      bool quoted = at(from) == '"' || at(from) == '\'';
      from += quoted;
      size_t end = run_end(2, from, [](char c) { return is_token(c) || c == '+' || c == '/' || c == '='; });
      if (end - from >= 16 && mixed(from, end)) add(from, end, kKey);
      return;
    }
  }

  bool mixed(size_t from, size_t to, int32_t least_digits = 2) const {
    int32_t digits = 0, letters = 0;
    for (size_t i = from; i < std::min(to, from + kLongestKey); ++i) {
      digits += is_digit(text_[i]);
      letters += is_alpha(text_[i]);
    }
    return digits >= least_digits && letters >= 2;
  }

  string_view text_;
  std::vector<Secret>& out_;
  std::array<std::pair<size_t, size_t>, 3> runs_{};
  bool no_end_ = false;  // of a private key, from here on
};

}  // namespace

void find_private(string_view text, std::vector<Secret>& out) {
  out.clear();
  Finder(text, out).run();
}

void mask_private(const Texts& texts, const Masks& masks, Column& out, int32_t* counts) {
  std::vector<Secret> found;
  for (int64_t i = 0; i < texts.count; ++i) {
    int32_t* own = counts + i * kPrivateCount;
    std::fill(own, own + kPrivateCount, 0);
    string_view text = texts[i];
    find_private(text, found);
    size_t from = 0;
    for (const Secret& secret : found) {
      if (!masks.by[secret.kind]) continue;
      out.data.append(text.substr(from, secret.begin - from)).append(masks.by[secret.kind]);
      from = secret.end;
      ++own[secret.kind];
    }
    out.add(text.substr(from));
  }
}

}  // namespace herd
