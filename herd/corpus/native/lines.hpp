// Rules that take single lines out of documents.
#pragma once
#include "words.hpp"

namespace herd {

// A rule is off where its number is 0.
struct LineRules {
  int32_t min_words;            // C4
  int32_t longest_word;         // C4
  int32_t ended_only;           // C4: lines that end a sentence
  int32_t javascript;           // C4
  int32_t policies;             // C4: terms of use, privacy and cookie policies
  int32_t citations;            // C4: takes out [12], [edit], [citation needed]
  int32_t uppercase_percent;    // RefinedWeb: lines of capitals
  int32_t numbers;              // RefinedWeb: lines of digits only
  int32_t counters;             // RefinedWeb: `3 likes`
  int32_t calls;                // RefinedWeb: `items in cart`, `Read more...`, `Sign-in` on short lines
  int32_t covered_percent;      // Llama 3: lines made of runs of words that the document repeats
  int32_t covered_run;          // how many words such a run has
};

// What was done to a document, in the order in which Python names it (stats.py).
enum Edit {
  kLinesIn, kWordsIn, kWordsOut, kFewWords, kLongWord, kUnended, kJavascript, kPolicy, kCapitals, kNumber, kCounter,
  kCall, kCovered, kLineBraces, kLineLorem, kLineSentences, kEditCount
};

void clean_lines(const Texts& texts, const LineRules& rules, Column& out, double* edits);

}  // namespace herd
