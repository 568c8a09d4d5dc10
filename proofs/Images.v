(** Images: what is blocked must be the same at every position. *)
From Coq Require Import Reals Lra Lia Arith Bool.
From Coquelicot Require Import Coquelicot.
From BNBlind Require Import Definitions Statements Sums Calculus Jacobian Terms Backward.
Open Scope R_scope.

(** The position of a pooled row. *)
Lemma row_position P i p : (p < P)%nat -> (row P i p mod P = p)%nat.
Proof.
  intros Hp. unfold row. rewrite Nat.add_comm, Nat.mod_add by lia. now apply Nat.mod_small.
Qed.

Lemma row_bound n P i p : (i < n)%nat -> (p < P)%nat -> (row P i p < n * P)%nat.
Proof. intros Hi Hp. unfold row. nia. Qed.

(** The rows of [n] samples with [P] positions each. *)
Lemma fsum_rows n P f : fsum (n * P) f = \sum_(i < n) \sum_(p < P) f (row P i p).
Proof.
  assert (A : forall m k, fsum (m + k) f = fsum m f + \sum_(p < k) f (m + p)%nat).
  { intros m k. induction k as [|k IH]; simpl.
    - rewrite Nat.add_0_r. ring.
    - rewrite Nat.add_succ_r. simpl. rewrite IH. ring. }
  induction n as [|n IH]; [reflexivity|].
  cbn [fsum]. rewrite <- IH. rewrite Nat.mul_succ_l, A. reflexivity.
Qed.

(** A sum over samples and positions is one over the rows of the pooled batch. *)
Lemma pooled n P (f : nat -> nat -> R) :
  \sum_(i < n) \sum_(p < P) f p (row P i p) = \sum_(r < n * P) f (r mod P)%nat r.
Proof.
  rewrite fsum_rows. apply fsum_ext; intros i _. apply fsum_ext; intros p Hp.
  now rewrite row_position.
Qed.

Lemma first_images_differentiable n P D g y0 Y :
  differentiable (n * P) D (first_term_images n P D g y0) Y (fun r d => g (r mod P)%nat d).
Proof.
  apply (differentiable_ext _ _ (fun y => \sum_(r < n * P) \sum_(d < D)
    g (r mod P)%nat d * (y r d - y0 (r mod P)%nat d))).
  { intros y. unfold first_term_images. symmetry.
    apply (pooled n P (fun p r => \sum_(d < D) g p d * (y r d - y0 p d))). }
  eapply differentiable_val; [|apply differentiable_fsum; intros r Hr;
    apply differentiable_fsum; intros d Hd; apply differentiable_scal;
    apply differentiable_minus_const, differentiable_entry; assumption].
  intros r d Hr Hd. cbv beta.
  apply (pick_entry (n * P) D r d (fun a b => g (a mod P)%nat b)); assumption.
Qed.

Lemma diag_images_differentiable n P D H y0 Y :
  differentiable (n * P) D (diag_term_images n P D H y0) Y
    (fun r d => H (r mod P)%nat d * (Y r d - y0 (r mod P)%nat d)).
Proof.
  apply (differentiable_ext _ _ (fun y => / 2 * \sum_(r < n * P) \sum_(d < D)
    H (r mod P)%nat d * (y r d - y0 (r mod P)%nat d) ^ 2)).
  { intros y. unfold diag_term_images. f_equal. symmetry.
    apply (pooled n P (fun p r => \sum_(d < D) H p d * (y r d - y0 p d) ^ 2)). }
  eapply differentiable_val; [|apply differentiable_scal, differentiable_fsum; intros r Hr;
    apply differentiable_fsum; intros d Hd; apply differentiable_scal, differentiable_square;
    apply differentiable_minus_const, differentiable_entry; assumption].
  intros r d Hr Hd. cbv beta.
  rewrite (fsum_ext _ _ (fun a => \sum_(b < D)
    2 * (H (a mod P)%nat b * (Y a b - y0 (a mod P)%nat b)) * (delta r a * delta d b))).
  - rewrite (pick_entry (n * P) D r d
      (fun a b => 2 * (H (a mod P)%nat b * (Y a b - y0 (a mod P)%nat b)))) by assumption. field.
  - intros a _. apply fsum_ext; intros b _. ring.
Qed.

(** Terms that are the same at every position are those of a batch of vectors. *)
Lemma first_images_vectors n P D g y0 y : constant_over_positions P D g ->
  first_term_images n P D g y0 y
  = first_term (n * P) D (g 0%nat) (fun _ => 0) y
    - INR n * \sum_(p < P) \sum_(d < D) g p d * y0 p d.
Proof.
  intros Hg. unfold first_term, first_term_images. rewrite fsum_rows, <- fsum_const, <- fsum_minus.
  apply fsum_ext; intros i _. rewrite <- fsum_minus. apply fsum_ext; intros p Hp.
  rewrite <- fsum_minus. apply fsum_ext; intros d Hd.
  rewrite (Hg 0%nat p d) by lia. ring.
Qed.

Lemma diag_images_vectors n P D H y0 y :
  constant_over_positions P D H -> constant_over_positions P D y0 ->
  diag_term_images n P D H y0 y = diag_term (n * P) D (fun d _ => H 0%nat d) (y0 0%nat) y.
Proof.
  intros HH Hy. unfold diag_term, diag_term_images. f_equal. rewrite fsum_rows.
  apply fsum_ext; intros i _. apply fsum_ext; intros p Hp. apply fsum_ext; intros d Hd.
  rewrite (HH 0%nat p d), (Hy 0%nat p d) by lia. reflexivity.
Qed.

Theorem images_T1_holds : images_T1.
Proof.
  intros n P D eps g y0 x j k Hn Hg.
  apply (partial_ext (fun z => first_term (n * P) D (g 0%nat) (fun _ => 0) (bn (n * P) eps z)
    - INR n * \sum_(p < P) \sum_(d < D) g p d * y0 p d)).
  { intros z. symmetry. now apply first_images_vectors. }
  apply (is_derive_val _ _ (0 - 0)); [|ring].
  apply (is_derive_minus_R
    (fun t => first_term (n * P) D (g 0%nat) (fun _ => 0) (bn (n * P) eps (upd x j k t)))).
  - now apply T1_holds.
  - apply is_derive_const_R.
Qed.

Theorem images_T2_holds : images_T2.
Proof.
  intros n P D eps H y0 x i p k Hi Hp Hk Hv HH Hy.
  apply (partial_ext (fun z =>
    diag_term (n * P) D (fun d _ => H 0%nat d) (y0 0%nat) (bn (n * P) eps z))).
  { intros z. symmetry. now apply diag_images_vectors. }
  eapply partial_val; [apply T2_holds; try assumption; now apply row_bound|].
  unfold diagonal_gradient. now rewrite (HH 0%nat p k) by lia.
Qed.

Theorem images_T2_blocked_holds : images_T2_blocked.
Proof.
  intros n P D H y0 x i p k Hi Hp Hk Hv HH Hy.
  eapply partial_val; [apply images_T2_holds; try assumption; lra|]. field. lra.
Qed.

(** * The batch at which each condition is needed *)

Lemma two_by_two_mu d : mu 4 two_by_two d = 0.
Proof. unfold mu, mean, two_by_two. simpl. field. Qed.

Lemma two_by_two_var d : var 4 two_by_two d = 1.
Proof. unfold var, mean. cbn [fsum]. rewrite two_by_two_mu. unfold two_by_two. simpl. field. Qed.

Lemma two_by_two_bn i d : bn 4 0 two_by_two i d = two_by_two i d.
Proof.
  unfold bn, sigma. rewrite two_by_two_mu, two_by_two_var, Rplus_0_r, sqrt_1. field.
Qed.

(** Of any gradient passes half of the difference between the first sample's positions. *)
Lemma two_by_two_backward L G v :
  differentiable 4 1 L (bn 4 0 two_by_two) G ->
  / 2 * (G 0%nat 0%nat - G 1%nat 0%nat) = v ->
  is_partial (fun z => L (bn 4 0 z)) two_by_two 0 0 v.
Proof.
  intros HL Hv.
  eapply partial_val; [apply (T4_holds 4%nat 1%nat 0 L G);
    [lia | lia | rewrite two_by_two_var; lra | exact HL]|].
  unfold bn_backward, mean, sigma. cbn [fsum].
  rewrite two_by_two_var, Rplus_0_r, sqrt_1, !two_by_two_bn. unfold two_by_two. simpl.
  rewrite <- Hv. field.
Qed.

Theorem images_pass_T1_holds : images_pass_T1.
Proof.
  intros g y0.
  eapply two_by_two_backward; [apply (first_images_differentiable 2 2 1) | reflexivity].
Qed.

Theorem images_pass_T2_curvature_holds : images_pass_T2_curvature.
Proof.
  intros H.
  eapply two_by_two_backward; [apply (diag_images_differentiable 2 2 1)|].
  cbv beta. rewrite !two_by_two_bn. unfold two_by_two. simpl. ring.
Qed.

Theorem images_pass_T2_point_holds : images_pass_T2_point.
Proof.
  intros h y0.
  eapply two_by_two_backward; [apply (diag_images_differentiable 2 2 1)|].
  cbv beta. rewrite !two_by_two_bn. unfold two_by_two. simpl. field.
Qed.
