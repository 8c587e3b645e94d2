package chunk_test

// goldenCuts are the cut points that every later version must find again:
// other cut points would store every large file a second time.
var goldenCuts = []int{
	822704, 1033364, 611794, 1124493, 950458, 712377, 271884, 915228,
	846234, 855323, 833603, 953807, 826736, 971725, 853182,
}
