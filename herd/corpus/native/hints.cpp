#include "hints.hpp"

#include <array>
#include <string>
#include <vector>

namespace herd {
namespace {

// A name matches where it stands in an attribute's value, letter case aside; `_` and spaces count as `-`, and
// a leading or trailing `|` ties it to the start or end of one of the value's words. Sources: the words that
// readability.js, trafilatura and jusText's users look for, and what 421 real pages use.
struct Word {
  const char* text;
  uint16_t hint;
};

const Word kWords[] = {
    {"articlebody", kBodyHint}, {"article-body", kBodyHint}, {"article--body", kBodyHint},
    {"articletext", kBodyHint}, {"article-text", kBodyHint}, {"articlecontent", kBodyHint},
    {"article-content", kBodyHint}, {"article--content", kBodyHint}, {"article-main", kBodyHint},
    {"article--text", kBodyHint}, {"artikel-text", kBodyHint}, {"artikeltext", kBodyHint},
    {"entry-content", kBodyHint}, {"entrycontent", kBodyHint}, {"entry-body", kBodyHint}, {"entrytext", kBodyHint},
    {"post-content", kBodyHint}, {"postcontent", kBodyHint}, {"post-body", kBodyHint}, {"postbody", kBodyHint},
    {"post-text", kBodyHint}, {"post-entry", kBodyHint}, {"post--content", kBodyHint}, {"post-bodycopy", kBodyHint},
    {"story-body", kBodyHint}, {"storybody", kBodyHint}, {"story-content", kBodyHint}, {"storytext", kBodyHint},
    {"story-text", kBodyHint}, {"blog-content", kBodyHint}, {"blogpost-body", kBodyHint},
    {"blog-post-content", kBodyHint}, {"content-body", kBodyHint}, {"contentbody", kBodyHint},
    {"body-text", kBodyHint}, {"bodytext", kBodyHint}, {"body-copy", kBodyHint}, {"bodycopy", kBodyHint},
    {"fulltext", kBodyHint}, {"full-text", kBodyHint}, {"field-name-body", kBodyHint}, {"field--body", kBodyHint},
    {"news-body", kBodyHint}, {"news-text", kBodyHint}, {"news-content", kBodyHint}, {"newstext", kBodyHint},
    {"text-content", kBodyHint}, {"single-content", kBodyHint}, {"theme-content", kBodyHint},
    {"art-postcontent", kBodyHint}, {"mw-parser-output", kBodyHint}, {"mw-content-text", kBodyHint},
    {"|post|", kContentHint}, {"|entry|", kContentHint}, {"|article|", kContentHint}, {"|story|", kContentHint},
    {"|content|", kContentHint}, {"|main|", kContentHint}, {"main-content", kContentHint},
    {"maincontent", kContentHint}, {"content-main", kContentHint}, {"contentmain", kContentHint},
    {"page-content", kContentHint}, {"pagecontent", kContentHint}, {"primary-content", kContentHint},
    {"section-content", kContentHint}, {"body-content", kContentHint}, {"main-column", kContentHint},
    {"|document|", kContentHint},

    {"footer", kAgainstHint}, {"|foot|", kAgainstHint}, {"|nav", kAgainstHint}, {"-nav|", kAgainstHint},
    {"navbar", kAgainstHint}, {"navigation", kAgainstHint}, {"subnav", kAgainstHint}, {"topnav", kAgainstHint},
    {"menu", kAgainstHint}, {"breadcrumb", kAgainstHint}, {"bread-crumb", kAgainstHint}, {"|crumb", kAgainstHint},
    {"sidebar", kAgainstHint}, {"side-bar", kAgainstHint}, {"|aside", kAgainstHint}, {"sidepanel", kAgainstHint},
    {"rightcol", kAgainstHint}, {"right-col", kAgainstHint}, {"rightrail", kAgainstHint},
    {"right-rail", kAgainstHint}, {"related", kAgainstHint}, {"recommend", kAgainstHint}, {"|viral", kAgainstHint},
    {"readmore", kAgainstHint}, {"read-more", kAgainstHint}, {"more-stories", kAgainstHint},
    {"also-read", kAgainstHint}, {"most-read", kAgainstHint}, {"mostread", kAgainstHint}, {"popular", kAgainstHint},
    {"trending", kAgainstHint}, {"teaser", kAgainstHint}, {"share-", kAgainstHint}, {"-share", kAgainstHint},
    {"|share|", kAgainstHint}, {"sharing", kAgainstHint}, {"sharedaddy", kAgainstHint}, {"sharebar", kAgainstHint},
    {"sharebutton", kAgainstHint}, {"shareicon", kAgainstHint}, {"socialshare", kAgainstHint},
    {"social", kAgainstHint}, {"sociable", kAgainstHint}, {"|follow", kAgainstHint}, {"addtoany", kAgainstHint},
    {"addthis", kAgainstHint}, {"newsletter", kAgainstHint}, {"subscribe", kAgainstHint},
    {"subscription", kAgainstHint}, {"paywall", kAgainstHint}, {"signup", kAgainstHint}, {"sign-up", kAgainstHint},
    {"|login", kAgainstHint}, {"cookie", kAgainstHint}, {"consent", kAgainstHint}, {"gdpr", kAgainstHint},
    {"disclaimer", kAgainstHint}, {"|modal", kAgainstHint}, {"-modal", kAgainstHint}, {"popup", kAgainstHint},
    {"overlay", kAgainstHint}, {"|promo", kAgainstHint}, {"-promo|", kAgainstHint}, {"-promo-", kAgainstHint}, {"sponsor", kAgainstHint},
    {"advert", kAgainstHint}, {"|ad|", kAgainstHint}, {"|ads|", kAgainstHint}, {"-ad-", kAgainstHint},
    {"|ad-", kAgainstHint}, {"|ads-", kAgainstHint}, {"-ads|", kAgainstHint}, {"-ad|", kAgainstHint},
    {"adsense", kAgainstHint}, {"banner", kAgainstHint}, {"taboola", kAgainstHint}, {"outbrain", kAgainstHint},
    {"|tags|", kAgainstHint}, {"-tags|", kAgainstHint}, {"taglist", kAgainstHint}, {"tag-list", kAgainstHint},
    {"tagcloud", kAgainstHint}, {"|tags-", kAgainstHint}, {"post-tag", kAgainstHint}, {"keywords", kAgainstHint},
    {"byline", kAgainstHint}, {"|author", kAgainstHint}, {"-author|", kAgainstHint}, {"authorbox", kAgainstHint},
    {"-bio|", kAgainstHint}, {"|bio|", kAgainstHint}, {"dateline", kAgainstHint}, {"|timestamp", kAgainstHint},
    {"-meta|", kAgainstHint}, {"|meta", kAgainstHint}, {"metadata", kAgainstHint}, {"postmeta", kAgainstHint},
    {"entry-meta", kAgainstHint}, {"infoline", kAgainstHint}, {"rating", kAgainstHint}, {"|widget", kAgainstHint},
    {"-widget", kAgainstHint}, {"toolbar", kAgainstHint}, {"pagination", kAgainstHint}, {"|pager", kAgainstHint},
    {"paginat", kAgainstHint}, {"prev-next", kAgainstHint}, {"next-prev", kAgainstHint}, {"post-nav", kAgainstHint},
    {"nextpost", kAgainstHint}, {"attachment", kAgainstHint}, {"|print", kAgainstHint}, {"-print", kAgainstHint},
    {"|skip", kAgainstHint}, {"masthead", kAgainstHint}, {"copyright", kAgainstHint}, {"headerlink", kAgainstHint},
    {"editsection", kAgainstHint}, {"|toc|", kAgainstHint}, {"|toc-", kAgainstHint}, {"tableofcontents", kAgainstHint},
    {"table-of-contents", kAgainstHint}, {"navbox", kAgainstHint}, {"catlinks", kAgainstHint},
    {"|infobox", kAgainstHint}, {"noprint", kAgainstHint}, {"jump-to", kAgainstHint}, {"|search", kAgainstHint},
    {"-search|", kAgainstHint}, {"|donat", kAgainstHint}, {"fundrais", kAgainstHint}, {"contentinfo", kAgainstHint},
    {"pullquote", kAgainstHint}, {"pull-quote", kAgainstHint}, {"jp-", kAgainstHint}, {"viewsource", kAgainstHint},
    {"copybutton", kAgainstHint}, {"|next-", kAgainstHint}, {"|embed", kAgainstHint}, {"|video", kAgainstHint},
    {"|player", kAgainstHint}, {"slideshow", kAgainstHint}, {"carousel", kAgainstHint}, {"gallery", kAgainstHint},
    {"|factbox", kAgainstHint}, {"|hotline", kAgainstHint}, {"|poll|", kAgainstHint}, {"|survey", kAgainstHint},
    {"syndicat", kAgainstHint}, {"|category", kAgainstHint}, {"-category|", kAgainstHint}, {"postedin", kAgainstHint},
    {"|rss", kAgainstHint}, {"linklist", kAgainstHint}, {"link-list", kAgainstHint}, {"complementary", kAgainstHint},

    {"|lead|", kLeadHint}, {"-lead|", kLeadHint}, {"|lede", kLeadHint}, {"intro", kLeadHint},
    {"standfirst", kLeadHint}, {"stand-first", kLeadHint}, {"subtitle", kLeadHint}, {"sub-title", kLeadHint},
    {"subheadline", kLeadHint}, {"sub-headline", kLeadHint}, {"subhead|", kLeadHint}, {"summary", kLeadHint},
    {"excerpt", kLeadHint}, {"|dek|", kLeadHint}, {"-dek|", kLeadHint}, {"vorspann", kLeadHint},
    {"|abstract", kLeadHint}, {"chapo", kLeadHint}, {"teaser-text", kLeadHint}, {"teasertext", kLeadHint},
    {"hero--text", kLeadHint}, {"|deck|", kLeadHint}, {"article-teaser", kLeadHint}, {"anreisser", kLeadHint},

    {"|question|", kQuestionHint}, {"|question-", kQuestionHint}, {"-question|", kQuestionHint},
    {"questiontext", kQuestionHint}, {"questionbody", kQuestionHint}, {"|qa-q", kQuestionHint},
    {"|answer|", kAnswerHint}, {"|answers|", kAnswerHint}, {"|answer-", kAnswerHint}, {"|answers-", kAnswerHint},
    {"-answer|", kAnswerHint}, {"-answers|", kAnswerHint}, {"answertext", kAnswerHint}, {"answerbody", kAnswerHint},
    {"acceptedanswer", kAnswerHint}, {"suggestedanswer", kAnswerHint}, {"|qa-a", kAnswerHint},
    {"forumcomment", kThreadHint}, {"forum-comment", kThreadHint}, {"forumpost", kThreadHint},
    {"forum-post", kThreadHint}, {"forum-reply", kThreadHint},
    {"votecell", kAgainstHint}, {"vote-count", kAgainstHint}, {"|user-info", kAgainstHint},

    {"comment", kCommentHint}, {"disqus", kCommentHint}, {"respond", kCommentHint}, {"|reply", kCommentHint},
    {"-replies", kCommentHint}, {"livefyre", kCommentHint}, {"trackback", kCommentHint}, {"pingback", kCommentHint},

    {"|hidden|", kHiddenHint}, {"|hide|", kHiddenHint}, {"visually-hidden", kHiddenHint},
    {"visuallyhidden", kHiddenHint}, {"screen-reader", kHiddenHint}, {"|sr-only|", kHiddenHint},
    {"display-none", kHiddenHint}, {"|d-none|", kHiddenHint}, {"invisible", kHiddenHint}, {"noscript", kHiddenHint},

    {"|math", kMathHint}, {"|mwe-math", kMathHint}, {"|katex", kMathHint}, {"|tex|", kMathHint},
    {"latex", kMathHint}, {"|mjx", kMathHint}, {"|mathjax", kMathHint}, {"wp-katex", kMathHint},
    {"|mathjax-preview", kDrawnMathHint}, {"|mathjax|", kDrawnMathHint}, {"|mathjax-display|", kDrawnMathHint},
    {"|mathjax-svg", kDrawnMathHint}, {"|mathjax-chtml", kDrawnMathHint}, {"|mathjax-commonhtml", kDrawnMathHint},
    {"|mathjax-mathml", kDrawnMathHint}, {"|mjx-chtml", kDrawnMathHint}, {"katex-html", kDrawnMathHint},
    {"mwe-math-fallback", kDrawnMathHint}, {"|mathjax-svg-display", kDrawnMathHint},

    {"highlight", kCodeHint}, {"|code", kCodeHint}, {"-code|", kCodeHint}, {"codeblock", kCodeHint},
    {"prettyprint", kCodeHint}, {"sourcecode", kCodeHint}, {"|crayon", kCodeHint}, {"|prism", kCodeHint},
    {"|hljs", kCodeHint}, {"literal-block", kCodeHint}, {"|language-", kCodeHint}, {"|listing", kCodeHint},
    {"programlisting", kCodeHint}, {"|syntax", kCodeHint}, {"|fragment|", kCodeHint}, {"ln-code", kCodeHint},
    {"lines-code", kCodeHint}, {"line-code", kCodeHint}, {"code-line", kCodeHint}, {"|blob-code", kCodeHint},
    {"linenos", kGutterHint}, {"|gutter", kGutterHint}, {"line-number", kGutterHint}, {"linenumber", kGutterHint},
    {"|lineno|", kGutterHint}, {"crayon-num", kGutterHint}, {"|blob-num", kGutterHint}, {"ln-numbers", kGutterHint},
    {"ln-line-number", kGutterHint}, {"lines-num", kGutterHint}, {"line-num", kGutterHint}, {"linenr", kGutterHint},
    {"|lnt|", kGutterHint}, {"-gutter|", kGutterHint}, {"|ln|", kGutterHint}, {"line-no|", kGutterHint},

    {"caption", kCaptionHint}, {"|credit", kCaptionHint}, {"-credit", kCaptionHint}, {"photo-info", kCaptionHint},
    {"image-source", kCaptionHint}, {"copyright-holder", kCaptionHint}, {"photographer", kCaptionHint},
};

// Aho-Corasick over 29 letters: a to z, word boundary, `-`, anything else.
class Automaton {
 public:
  static constexpr int kLetters = 29, kEdge = 26, kDash = 27, kElse = 28;

  Automaton() {
    for (int c = 0; c < 256; ++c) letter_[size_t(c)] = uint8_t(kElse);
    for (int c = 0; c < 26; ++c) letter_[size_t('a' + c)] = letter_[size_t('A' + c)] = uint8_t(c);
    letter_['-'] = letter_['_'] = uint8_t(kDash);
    for (char c : {' ', '\t', '\n', '\r', '\f', '|'}) letter_[uint8_t(c)] = uint8_t(kEdge);
    grow();
    for (const Word& word : kWords) insert(word);
    connect();
  }

  uint16_t run(string_view value, uint16_t found) const {
    uint32_t state = go_[kEdge];
    bool edge = true;
    for (char c : value) {
      uint8_t letter = letter_[uint8_t(c)];
      if (letter == kEdge && edge) continue;
      edge = letter == kEdge;
      state = go_[state * kLetters + letter];
      found |= hint_[state];
    }
    return edge ? found : uint16_t(found | hint_[go_[state * kLetters + kEdge]]);
  }

 private:
  void grow() {
    go_.insert(go_.end(), kLetters, 0);
    hint_.push_back(0);
  }

  void insert(const Word& word) {
    uint32_t state = 0;
    for (const char* c = word.text; *c; ++c) {
      uint32_t slot = state * kLetters + letter_[uint8_t(*c)];
      if (!go_[slot]) {
        uint32_t fresh = uint32_t(hint_.size());
        grow();
        go_[slot] = fresh;
      }
      state = go_[slot];
    }
    hint_[state] |= word.hint;
  }

  void connect() {
    std::vector<uint32_t> queue, back(hint_.size(), 0);
    for (int letter = 0; letter < kLetters; ++letter)
      if (go_[size_t(letter)]) queue.push_back(go_[size_t(letter)]);
    for (size_t i = 0; i < queue.size(); ++i) {
      uint32_t state = queue[i];
      hint_[state] |= hint_[back[state]];
      for (uint32_t letter = 0; letter < kLetters; ++letter) {
        uint32_t& next = go_[state * kLetters + letter];
        uint32_t fall = go_[back[state] * kLetters + letter];
        if (next) {
          back[next] = fall;
          queue.push_back(next);
        } else {
          next = fall;
        }
      }
    }
  }

  std::array<uint8_t, 256> letter_;
  std::vector<uint32_t> go_;
  std::vector<uint16_t> hint_;
};

// What schema.org calls the parts of a page of a question and its answers.
uint16_t typed_hint(string_view type) {
  size_t slash = type.rfind('/');
  string_view name = slash == type.npos ? type : type.substr(slash + 1);
  if (same_word(name, "discussionforumposting")) return kThreadHint;
  return same_word(name, "question") ? kQuestionHint : same_word(name, "answer") ? kAnswerHint : 0;
}

bool says_hidden(string_view style) {
  std::string bare;
  for (char c : style)
    if (!is_space(c)) bare += lower(c);
  return bare.find("display:none") != bare.npos || bare.find("visibility:hidden") != bare.npos;
}

}  // namespace

uint16_t hints_of(const Node& node) {
  static const Automaton words;
  uint16_t found = 0;
  Attributes all(node);
  Attribute one;
  while (all.next(one)) {
    switch (one.name.empty() ? 0 : lower(one.name[0])) {
      case 'c':
        if (same_word(one.name, "class")) found = words.run(one.value, found);
        break;
      case 'i':
        if (same_word(one.name, "id") || same_word(one.name, "itemprop")) found = words.run(one.value, found);
        if (same_word(one.name, "itemtype")) found |= typed_hint(one.value);
        break;
      case 'r':
        if (same_word(one.name, "role")) found = words.run(one.value, found);
        break;
      case 'h':
        if (same_word(one.name, "hidden")) found |= kHiddenHint;
        break;
      case 'a':
        if (same_word(one.name, "aria-hidden") && same_word(one.value, "true")) found |= kHiddenHint;
        break;
      case 's':
        if (same_word(one.name, "style") && says_hidden(one.value)) found |= kHiddenHint;
        break;
      default:
        break;
    }
  }
  return found;
}

}  // namespace herd
