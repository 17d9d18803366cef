#include "outline.hpp"

#include <algorithm>

#include "listing.hpp"

namespace herd {
namespace {

constexpr float kSmallShare = 0.35f;  // a part that holds more of the text is not dropped for its name
constexpr float kHintShare = 0.3f;    // a part named as content must hold this much of the text
constexpr int kLeadClimb = 7;           // how far above the content its opening is looked for
constexpr int32_t kLeadLetters = 40;
constexpr int kAlikeClimb = 4;         // how far above a post the others of its thread are looked for
constexpr int32_t kLongCaption = 300;
constexpr float kMostCaptions = 0.5f;
constexpr float kLeastPart = 20;     // of a post, an answer: letters of running text
constexpr size_t kMostAround = 6;      // how many boxes inside each other are looked at for a listing
constexpr float kMostShare = 0.95f;   // and content goes on being narrowed down to a child that holds this much

bool never_content(Tag tag) {
  switch (tag) {
    case kHead: case kScript: case kStyle: case kNoscript: case kTemplate: case kIframe: case kObject: case kEmbed:
    case kSvg: case kCanvas: case kAudio: case kVideo: case kSelect: case kButton: case kTextarea: case kInput:
    case kNav: case kDialog: case kNoframes: case kNoembed: case kRp: case kRt: case kRtc: case kTitle: case kOption: case kOptgroup:
    case kMenu:
      return true;
    default:
      return false;
  }
}

// Names say nothing about elements that span the page, and little about program text.
bool names_count(Tag tag) {
  switch (tag) {
    case kHtml: case kBody: case kRoot: case kMain: case kPre: case kCode: case kMath: case kImg: case kTr:
    case kTbody: case kSamp: case kKbd:
      return false;
    default:
      return true;
  }
}

struct Letters {
  int32_t count = 0;
  int32_t sentence_marks = 0;
};

// Letters of any script; the marks that running text has and menus have not.
Letters count_letters(string_view raw) {
  Letters found;
  for (size_t i = 0; i < raw.size(); ++i) {
    auto c = uint8_t(raw[i]);
    if (c <= ' ') continue;
    if (c == '&') {  // a character reference is one letter
      size_t close = raw.substr(i, 10).find(';');
      if (close != raw.npos) i += close;
      ++found.count;
    } else if (c < 0x80) {
      ++found.count;
      if (c == '.' || c == ',' || c == '?' || c == '!' || c == ';') ++found.sentence_marks;
    } else if (c >= 0xE3 && c <= 0xED) {
      found.count += 2;  // a Chinese, Japanese or Korean character says as much as two letters or more
      if (c == 0xE3 && i + 2 < raw.size() && uint8_t(raw[i + 1]) == 0x80 && uint8_t(raw[i + 2]) <= 0x82)
        ++found.sentence_marks;
    } else if (c >= 0xC0) {
      ++found.count;
    }
  }
  return found;
}

class Outliner {
 public:
  Outliner(const Tree& tree, const ExtractOptions& options, Strictness strictness)
      : nodes_(tree.nodes), tree_(tree), options_(options), strictness_(strictness) {
    out_.parts.resize(nodes_.size());
  }

  Outline run() {
    look_at_names();
    find_listings();
    weigh();
    if (options_.main_only) {
      find_answers();
      if (strictness_ > kNothing) {
        drop_by_name();
        weigh();
      }
      out_.main = choose();
      find_leads();
      drop_inside();
    } else {
      out_.main = tree_.body;
    }
    return std::move(out_);
  }

 private:
  Part& part(int32_t i) { return out_.parts[size_t(i)]; }
  const Node& node(int32_t i) const { return nodes_[size_t(i)]; }
  int32_t count() const { return int32_t(nodes_.size()); }

  void drop(int32_t i) {
    for (int32_t k = i; k < node(i).end; ++k) part(k).dropped = true;
  }

  static bool is_tex_script(const Node& node) {
    return node.tag == kScript && attribute(node, "type").substr(0, 8) == "math/tex";
  }

  void look_at_names() {
    for (int32_t i = 0; i < count(); ++i) {
      const Node& own = node(i);
      if (own.tag == kText) continue;
      if (never_content(own.tag) && !is_tex_script(own)) {
        drop(i);
        i = own.end - 1;
        continue;
      }
      if (own.length > 5) part(i).hints = hints_of(own);
      if (own.tag == kTable || (part(i).hints & kCodeHint && (own.tag == kDiv || own.tag == kTd))) maybe_listings_.push_back(i);
      // Inside program text names are those of its syntax: a `comment` there is the programmer's.
      if (i < program_end_) part(i).hints &= kGutterHint;
      if (own.tag == kPre) {
        program_end_ = std::max(program_end_, own.end);
        out_.programs.push_back(i);
      }
      uint16_t hints = part(i).hints;
      seen_hints_ |= hints;
      seen_captions_ |= own.tag == kFigcaption || hints & kCaptionHint;
      // Wikipedia hides the formula and shows a picture; KaTeX hides from readers' eyes what it draws.
      if (hints & kDrawnMathHint || (hints & kGutterHint && is_gutter(i))) {
        drop(i);
      } else if (hints & kHiddenHint && !(hints & kMathHint) && own.tag != kMath && names_count(own.tag) &&
                 !(hints & (kBodyHint | kContentHint))) {
        drop(i);
      }
      if (part(i).dropped) i = own.end - 1;
    }
  }

  // Program text outside of <pre>. Names inside it are those of its syntax, as above.
  void find_listings() {
    std::vector<int32_t> around;  // candidates that were none
    for (int32_t i : maybe_listings_) {
      while (!around.empty() && node(around.back()).end <= i) around.pop_back();
      if (i < program_end_of_listings_ || part(i).dropped || around.size() > kMostAround || is_in_program(i)) continue;
      bool listed = node(i).tag == kTable && is_listed_by_rows(tree_, out_.parts, i);
      if (!listed && part(i).hints & kCodeHint) listed = is_listed_by_boxes(tree_, out_.parts, i);
      if (!listed) {
        around.push_back(i);
        continue;
      }
      program_end_of_listings_ = node(i).end;
      out_.listings.push_back(i);
      for (int32_t k = i + 1; k < node(i).end; ++k) part(k).hints &= kGutterHint;
    }
    if (out_.listings.empty()) return;
    out_.programs.insert(out_.programs.end(), out_.listings.begin(), out_.listings.end());
    std::sort(out_.programs.begin(), out_.programs.end());
  }

  // Whether it stands in a <pre>, which is written whole.
  bool is_in_program(int32_t i) const {
    auto next = std::lower_bound(out_.programs.begin(), out_.programs.end(), i);
    return next != out_.programs.begin() && i < node(*(next - 1)).end;
  }

  bool is_listing(int32_t i) const {
    return !out_.listings.empty() && std::binary_search(out_.listings.begin(), out_.listings.end(), i);
  }

  // Whether nothing but line numbers stands in an element that is named after them.
  bool is_gutter(int32_t i) const {
    for (int32_t k = i + 1; k < node(i).end; ++k) {
      if (node(k).tag != kText) continue;
      for (uint32_t c = 0; c < node(k).length; ++c)
        if (!is_digit(node(k).text[c]) && !is_space(node(k).text[c])) return false;
    }
    return true;
  }

  // Letters and mass of every element: its own runs of inline text, and what its children hold.
  void weigh() {
    for (Part& one : out_.parts) one.letters = one.linked = 0, one.mass = 0;
    int32_t link_end = 0, block = 0, letters = 0, linked = 0, marks = 0;
    auto close = [&](int32_t next) {
      if (letters) {
        part(block).letters += letters;
        part(block).linked += linked;
        part(block).mass += mass_of(node(block).tag, letters, linked, marks);
      }
      letters = linked = marks = 0;
      block = next;
    };
    std::vector<int32_t> ends;
    for (int32_t i = 0; i < count(); ++i) {
      while (!ends.empty() && node(ends.back()).end <= i) {
        close(node(ends.back()).parent);
        ends.pop_back();
      }
      if (part(i).dropped) {
        i = node(i).end - 1;
      } else if (node(i).tag == kText) {
        Letters found = count_letters({node(i).text, node(i).length});
        letters += found.count;
        marks += found.sentence_marks;
        if (i < link_end) linked += found.count;
      } else if (is_block(node(i).tag)) {
        close(i);
        ends.push_back(i);
      } else if (node(i).link) {
        link_end = std::max(link_end, node(i).end);
      }
    }
    close(0);
    for (int32_t i = count() - 1; i > 0; --i) {
      Part& above = part(node(i).parent);
      above.letters += part(i).letters;
      above.linked += part(i).linked;
      above.mass += part(i).mass;
    }
  }

  float mass_of(Tag tag, int32_t letters, int32_t linked, int32_t marks) const {
    if (tag == kPre || tag == kXmp) return float(letters);
    float free = float(letters - linked);
    if (100 * linked > options_.links_percent * letters) return 0;
    if (tag >= kH1 && tag <= kH6) return 0.2f * free;
    if (letters >= 80 || (letters >= 25 && marks > 0)) return free;
    return (tag == kP ? 0.5f : 0.2f) * free;
  }

  void drop_by_name() {
    float total = part(0).mass;
    bool captioned = share_of_captions() > kMostCaptions;
    int32_t thread_end = 0;
    for (int32_t i = 1; i < count(); ++i) {
      const Node& own = node(i);
      if (own.tag == kText) continue;
      if (part(i).dropped) {
        i = own.end - 1;
        continue;
      }
      if (own.tag == kPre || is_listing(i)) {
        i = own.end - 1;
        continue;
      }
      if (!names_count(own.tag)) continue;
      uint16_t hints = part(i).hints;
      if (hints & kThreadHint) thread_end = node(i).end;
      if (i < thread_end) hints &= uint16_t(~kCommentHint);
      if (captioned) hints &= uint16_t(~kCaptionHint);
      bool small = part(i).mass < kSmallShare * total || total == 0;
      if (strictness_ == kComments && own.tag != kFooter && !(hints & kCommentHint)) continue;
      bool against = own.tag == kFooter || own.tag == kHeader || own.tag == kAside || own.tag == kForm ||
                     (own.tag == kFigcaption && !captioned) ||
                     (own.tag == kFigure && !captioned && is_picture(i)) || own.tag == kFieldset ||
                     (hints & kCommentHint && own.tag != kArticle && !(hints & (kBodyHint | kContentHint))) ||
                     (hints & (kAgainstHint | kCaptionHint) && !(hints & (kBodyHint | kContentHint | kCodeHint)));
      // A page's whole content may stand in a form, or in a part whose name holds `menu` by chance.
      if (against && small && !holds_code(i) && !holds_answers(i)) {
        drop(i);
        i = own.end - 1;
      }
    }
  }

  // A figure that holds a picture and a line or two about it, not a table, a quotation or what somebody wrote.
  bool is_picture(int32_t i) const {
    bool shown = false;
    for (int32_t k = i + 1; k < node(i).end; ++k) {
      Tag tag = node(k).tag;
      if (tag == kTable || tag == kBlockquote || tag == kUl || tag == kOl || tag == kDl || tag == kMath || tag == kP)
        return false;
      shown |= tag == kImg || tag == kVideo || tag == kPicture;
    }
    return shown && out_.parts[size_t(i)].letters < kLongCaption;
  }

  // Of the page's running text, how much stands below pictures: in a gallery it is the article.
  float share_of_captions() {
    if (!seen_captions_) return 0;
    float captions = 0;
    for (int32_t i = 1; i < count(); ++i) {
      if (node(i).tag == kText || part(i).dropped) continue;
      if (node(i).tag != kFigcaption && !(part(i).hints & kCaptionHint)) continue;
      captions += part(i).mass;
      i = node(i).end - 1;
    }
    return captions / std::max(part(0).mass, 1.0f);
  }

  // ---- a question and its answers ----

  // The parts of a page that ask and answer; none where it does not do both.
  void find_answers() {
    if (!(seen_hints_ & kAnswerHint || (seen_hints_ & kThreadHint && seen_hints_ & kCommentHint))) return;
    bool asked = false, answered = false;
    int32_t thread_end = 0;
    for (int32_t i = tree_.body + 1; i < count(); ++i) {
      uint16_t own = part(i).hints & (kQuestionHint | kAnswerHint);
      if (part(i).hints & kThreadHint) around_ = i, thread_end = node(i).end;
      if (i < thread_end && part(i).hints & kCommentHint) own |= kAnswerHint;
      if (part(i).dropped) {
        i = node(i).end - 1;
      } else if (own && is_block(node(i).tag) && names_count(node(i).tag) && part(i).mass >= kLeastPart) {
        if (own & kQuestionHint && holds_answer(i)) {  // all of the page is named after its question
          around_ = i;
          continue;
        }
        answers_.push_back(i);
        (own & kAnswerHint ? answered : asked) = true;
        i = node(i).end - 1;
      }
    }
    if (answered && !asked && !around_) asked = add_unnamed_question();
    if (asked) around_ = 0;  // the question has a part of its own
    if (!answered || !(asked || around_)) answers_.clear();
  }

  // A question that is only named as the page's text, above answers that are named as such.
  bool add_unnamed_question() {
    int32_t first = answers_.front();
    for (int32_t k = first; k > tree_.body; k = node(k).parent)
      if (part(k).hints & kCommentHint) return false;
    for (int32_t i = tree_.body + 1; i < first; ++i) {
      if (part(i).dropped || !(part(i).hints & kBodyHint) || node(i).end > first || part(i).mass < kLeastPart) continue;
      answers_.insert(answers_.begin(), i);
      return true;
    }
    return false;
  }

  bool holds_answer(int32_t i) {
    for (int32_t k = i + 1; k < node(i).end; ++k)
      if (part(k).hints & kAnswerHint && part(k).mass >= kLeastPart && is_block(node(k).tag)) return true;
    return false;
  }

  bool holds_answers(int32_t i) const {
    auto next = std::lower_bound(answers_.begin(), answers_.end(), i);
    return next != answers_.end() && *next < node(i).end;
  }

  // What holds them all, and at least half of the page's text: a page may also answer questions below an article.
  int32_t scope_of_answers(float total) {
    int32_t scope = around_ ? around_ : answers_.front();
    while (scope > tree_.body && (scope > answers_.front() || node(scope).end <= answers_.back() || part(scope).mass < 0.5f * total))
      scope = node(scope).parent;
    return scope;
  }

  // What frames a page rarely holds program text, and examples often stand in figures and boxes.
  bool holds_code(int32_t i) const {
    Tag tag = node(i).tag;
    if (tag == kFooter || tag == kHeader || out_.parts[size_t(i)].hints & kCommentHint) return false;
    auto next = std::lower_bound(out_.programs.begin(), out_.programs.end(), i);
    return next != out_.programs.end() && *next < node(i).end;
  }

  // ---- the element that holds the content ----

  int32_t choose() {
    float total = part(tree_.body).mass;
    if (total <= 0) return tree_.body;
    if (!answers_.empty()) return scope_of_answers(total);
    int32_t best = largest(0.12f * total, [this](int32_t i) { return (part(i).hints & kBodyHint) && names_count(node(i).tag); });
    if (!best) best = largest(kHintShare * total, [this](int32_t i) { return node(i).tag == kArticle; });
    if (!best) best = largest(kHintShare * total, [this](int32_t i) { return node(i).tag == kMain; });
    return narrow(best ? best : tree_.body);
  }

  // The element with most text among those `wanted`; 0 when it holds too little, or is one of many alike.
  template <typename Wanted>
  int32_t largest(float least, Wanted wanted) {
    int32_t best = 0;
    float all = 0;
    for (int32_t i = 1; i < count(); ++i) {
      if (part(i).dropped || !wanted(i)) continue;
      if (!best || part(i).mass > part(best).mass) best = i;
      all += part(i).mass;
      // Of elements inside each other the outer one counts.
      i = node(i).end - 1;
    }
    if (!best || part(best).mass < least || part(best).letters < 100) return 0;
    if (part(best).mass < 0.6f * all) return 0;
    return with_others_alike(best, wanted);
  }

  // The element that holds `best` and the others of its name: posts of a thread, of which one may be much the longest.
  template <typename Wanted>
  int32_t with_others_alike(int32_t best, Wanted wanted) {
    string_view name = attribute(node(best), "class");
    if (name.empty()) return best;
    int32_t first = best, last = best;
    for (int32_t i = 1; i < count(); ++i) {
      if (part(i).dropped || !wanted(i)) continue;
      if (part(i).mass >= kLeastPart && node(i).tag == node(best).tag && are_alike(attribute(node(i), "class"), name))
        first = std::min(first, i), last = std::max(last, i);
      i = node(i).end - 1;
    }
    int32_t scope = best;
    for (int climbed = 0; scope > tree_.body && (first < scope || last >= node(scope).end); ++climbed) {
      if (climbed == kAlikeClimb) return best;
      scope = node(scope).parent;
    }
    return scope;
  }

  int32_t narrow(int32_t i) {
    float all = part(i).mass;
    for (;;) {
      int32_t next = 0;
      for (int32_t k = i + 1; k < node(i).end; k = node(k).end)
        if (node(k).tag != kText && !part(k).dropped && part(k).mass >= kMostShare * all) next = k;
      if (!next || !holds_parts(node(next).tag) || has_sibling_alike(i, next)) return i;
      i = next;
    }
  }

  // Whether two names differ in their numbers at most: `post bg1` and `post bg2`.
  static bool are_alike(string_view a, string_view b) {
    size_t i = 0, k = 0;
    for (;; ++i, ++k) {
      while (i < a.size() && is_digit(a[i])) ++i;
      while (k < b.size() && is_digit(b[k])) ++k;
      if (i == a.size() || k == b.size()) return i == a.size() && k == b.size();
      if (a[i] != b[k]) return false;
    }
  }

  // Whether another child of i is named like `child` and holds text: posts of a thread are so, short ones too.
  bool has_sibling_alike(int32_t i, int32_t child) {
    string_view name = attribute(node(child), "class");
    if (name.empty()) return false;
    for (int32_t k = i + 1; k < node(i).end; k = node(k).end)
      if (k != child && node(k).tag == node(child).tag && part(k).mass >= kLeastPart && are_alike(attribute(node(k), "class"), name))
        return true;
    return false;
  }

  static bool holds_parts(Tag tag) {
    switch (tag) {
      case kDiv: case kSection: case kArticle: case kMain: case kBody: case kHtml: case kForm: case kTable:
      case kTbody: case kTr: case kTd: case kSpan: case kOther: case kHeader: case kAside:
        return true;
      default:
        return false;
    }
  }

  // ---- what opens the text above the element that holds the rest ----

  void find_leads() {
    int32_t scope = out_.main;
    for (int climbed = 0; climbed < kLeadClimb && node(scope).parent > tree_.body; ++climbed) {
      if (node(scope).tag == kArticle || node(scope).tag == kMain) break;
      scope = node(scope).parent;
    }
    for (int32_t i = scope + 1; i < out_.main; ++i) {
      if (node(i).tag == kText || node(i).end > out_.main) continue;
      if (never_content(node(i).tag)) {
        i = node(i).end - 1;
      } else if (opens_text(i, scope)) {
        for (int32_t k = i; k < node(i).end; ++k) part(k).dropped = never_content(node(k).tag);
        out_.leads.push_back(i);
        i = node(i).end - 1;
      }
    }
  }

  bool opens_text(int32_t i, int32_t scope) const {
    Tag tag = node(i).tag;
    if (tag != kP && tag != kDiv && !(tag >= kH2 && tag <= kH4) && tag != kSpan) return false;
    bool named = false;
    for (int32_t k = i; k > scope; k = node(k).parent) {
      uint16_t hints = out_.parts[size_t(k)].hints;
      Tag above = node(k).tag;
      if (above == kFooter || above == kAside || above == kForm || above == kFigcaption || above == kFigure) return false;
      if (hints & kLeadHint) named = true;
      if (hints & (kCaptionHint | kCommentHint | kHiddenHint)) return false;
      if (hints & kAgainstHint && !(hints & kLeadHint)) return false;
      if (above == kHeader && tag == kP) named = true;
    }
    bool opens_article = (tag == kP || tag == kDiv) && node(scope).tag == kArticle;
    if (!named && !opens_article) return false;
    Letters found;
    for (int32_t k = i + 1; k < node(i).end; ++k) {
      if (node(k).link || (is_block(node(k).tag) && node(k).tag != kP)) return false;
      if (node(k).tag != kText) continue;
      Letters own = count_letters({node(k).text, node(k).length});
      found.count += own.count;
      found.sentence_marks += own.sentence_marks;
    }
    if (found.count < kLeadLetters || found.count > 1500 || !found.sentence_marks) return false;
    return named || found.count >= 2 * kLeadLetters;
  }

  // ---- lists of links and the like inside the content ----

  void drop_inside() {
    int32_t from = out_.main;
    for (int32_t i = from + 1; i < node(from).end; ++i) {
      const Node& own = node(i);
      if (own.tag == kText || part(i).dropped) continue;
      const Part& own_part = part(i);
      bool holder = own.tag == kUl || own.tag == kOl || own.tag == kDiv || own.tag == kSection || own.tag == kTable ||
                    own.tag == kDl || own.tag == kP || own.tag == kSpan;
      bool linked = own_part.letters > 0 && 100 * own_part.linked > options_.links_percent * own_part.letters;
      if (own.tag == kPre || is_listing(i)) i = own.end - 1;
      if (holder && linked && !holds_code(i) && own_part.mass < 0.1f * part(from).mass && is_block(own.tag)) {
        drop(i);
        i = own.end - 1;
      }
    }
  }

  const std::vector<Node>& nodes_;
  const Tree& tree_;
  const ExtractOptions& options_;
  Strictness strictness_;
  std::vector<int32_t> answers_;
  uint16_t seen_hints_ = 0;
  bool seen_captions_ = false;
  int32_t around_ = 0;  // what holds a question that has no part of its own, and its answers
  int32_t program_end_ = 0, program_end_of_listings_ = 0;
  std::vector<int32_t> maybe_listings_;
  Outline out_;
};

}  // namespace

Outline outline(const Tree& tree, const ExtractOptions& options, Strictness strictness) {
  return Outliner(tree, options, strictness).run();
}

}  // namespace herd
