// A tolerant HTML parser: any bytes in, a flat tree out, in one pass and bounded memory.
//
// Nodes lie in document order, so that the subtree of node i is the range (i, nodes[i].end). Follows the
// tokenizer and the implied end tags of the HTML standard (13.2.5, 13.2.6); formatting elements closed out of
// order are not rebuilt, because text order does not depend on it. In XHTML, told by an XML declaration or by its
// namespace, `<a/>` is empty; in HTML the slash means nothing.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text.hpp"

namespace herd {

enum Tag : uint8_t {
  kText, kOther, kA, kAbbr, kAddress, kAnnotation, kArticle, kAside, kAudio, kB, kBlockquote, kBody, kBr, kButton,
  kCanvas, kCaption, kCode, kDd, kDel, kDetails, kDialog, kDiv, kDl, kDt, kEm, kFieldset, kFigcaption, kFigure,
  kFooter, kForm, kFrameset, kH1, kH2, kH3, kH4, kH5, kH6, kHead, kHeader, kHgroup, kHr, kHtml, kI, kIframe, kImg,
  kInput, kIns, kKbd, kLabel, kLegend, kLi, kLink, kMain, kMath, kMenu, kMeta, kNav, kNoscript, kObject, kOl,
  kOptgroup, kOption, kP, kPicture, kPre, kQ, kRb, kRp, kRt, kRtc, kSamp, kScript, kSection, kSelect, kSource, kSpan, kStrong,
  kStyle, kSub, kSummary, kSup, kSvg, kTable, kTbody, kTd, kTemplate, kTextarea, kTfoot, kTh, kThead, kTime, kTitle,
  kTr, kTt, kTrack, kU, kUl, kVar, kVideo, kXmp, kNoframes, kNoembed, kPlaintext, kListing, kWbr, kArea, kBase, kCol,
  kEmbed, kParam, kRoot, kTagCount
};

struct Node {
  Tag tag;
  bool broken = false;   // opened deeper than the limit; holds nothing itself
  bool link = false;     // an anchor that leads somewhere; one without `href` only names a place
  int32_t parent;
  int32_t end;           // one past the last node inside
  const char* text;      // text: the raw characters; element: its attributes, unparsed
  uint32_t length;
};

struct Attribute {
  string_view name, value;  // value is raw: entities are not decoded
};

// Walks the attributes of an element: `Attributes a(node); Attribute one; while (a.next(one)) ...`
class Attributes {
 public:
  explicit Attributes(const Node& node) : at_(node.text), end_(node.text + node.length) {}
  bool next(Attribute& out);

 private:
  const char* at_;
  const char* end_;
};

string_view attribute(const Node& node, string_view name);
bool has_attribute(const Node& node, string_view name);

struct Tree {
  std::vector<Node> nodes;
  bool late = false;  // the deadline passed before the end
  int32_t body = 0;
};

Tree parse_html(string_view page, double deadline_cpu_seconds);

// Named character references, given once by the caller ("amp;" -> "&").
void set_entities(std::unordered_map<std::string, std::string> table);

// Appends `raw` with its character references decoded.
void decode_entities(string_view raw, std::string& out);

bool is_block(Tag tag);
bool is_void(Tag tag);

}  // namespace herd
