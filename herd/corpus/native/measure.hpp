// Statistics of documents, measured once for all the rules that judge by them.
#pragma once
#include "words.hpp"

namespace herd {

// The columns, in the order in which Python names them (stats.py).
enum Stat {
  kCharacters, kTextBytes, kWords, kPlainWords, kPlainCharacters, kAlphaWords, kShoutedWords, kLongestWord, kHashes,
  kEllipses, kBraces, kNewlines, kLorem, kAllLines, kBulletLines, kEllipsisLines, kLines, kEndedLines, kShortLines,
  kLongLines, kSplitLines, kRepeatedLines, kRepeatedLineCharacters, kParagraphs, kRepeatedParagraphs,
  kRepeatedParagraphCharacters, kTop2, kTop3, kTop4, kRepeated5, kRepeated6, kRepeated7, kRepeated8, kRepeated9,
  kRepeated10, kStopWords, kStopWordUses, kSentences, kDirtyWords, kDigits, kUppercase, kCodeLines, kFormulas,
  kMathematicalSigns, kStatCount
};

// Stop words of each language; entry i of `language` in measure() points at these.
void set_stop_words(std::vector<std::vector<uint64_t>> hashes_by_language);

// Dirty words and phrases, lower case.
void set_dirty_words(const std::vector<std::string>& phrases);

// values: kStatCount numbers a document. languages: an index into the stop words, -1 for none known.
void measure(const Texts& texts, const int32_t* languages, double* values);

// Sentences in the words [from, to) of `text`.
int32_t count_sentences(string_view text, const std::vector<Word>& words, size_t from, size_t to);

}  // namespace herd
