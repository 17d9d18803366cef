// What the names that a page's author gave to its parts (class, id, role, itemprop) say about them.
#pragma once
#include <cstdint>

#include "html.hpp"

namespace herd {

enum Hint : uint16_t {
  kBodyHint = 1,      // holds an article's text
  kContentHint = 2,   // holds the page's content
  kAgainstHint = 4,   // stands round the content: menus, shares, related pages
  kCommentHint = 8,   // what readers wrote below
  kHiddenHint = 16,   // is not shown
  kMathHint = 32,     // is a formula drawn by a script or a picture
  kDrawnMathHint = 64,  // repeats a formula whose source stands beside it
  kCodeHint = 128,    // is program text
  kGutterHint = 256,  // line numbers of program text
  kLeadHint = 1024,   // opens an article: a standfirst or a summary
  kQuestionHint = 2048,  // asks what the page answers
  kAnswerHint = 4096,    // answers it
  kThreadHint = 8192,    // a thread of a forum, in which a comment is an answer
  kCaptionHint = 512,  // says what a picture shows, or who took it
};

// The hints of an element's attributes.
uint16_t hints_of(const Node& node);

}  // namespace herd
